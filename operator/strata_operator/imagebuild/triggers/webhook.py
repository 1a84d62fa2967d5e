"""Whether deliveries for an ImageBuild can be checked: its Secret, as the receiver will read it."""

from __future__ import annotations

from typing import Final

from strata_operator import kube, names, settings
from strata_operator.imagebuild import questions
from strata_operator.registry import material
from strata_operator.webhooks import tokens

_MADE: Final = f"--from-literal={tokens.KEY}=$(openssl rand -hex 32)"


async def problem(client: kube.Kube, options: settings.Settings, namespace: str, secret: str) -> questions.Deaf | None:
    """Why they cannot, None if they can. Raises kube.KubeError where the API server does not answer."""
    if not options.webhook_listen:
        text = "the operator takes no webhooks; an administrator can have it with the chart's webhooks.enabled"
        return questions.Deaf("WebhooksDisabled", text)
    try:
        body = await client.get(names.SECRETS, namespace, secret)
    except kube.Forbidden:
        return questions.Deaf("AccessNotGranted", _grant(namespace, secret, options))
    if body is None:
        text = f"deliveries are refused, for Secret {secret} does not exist. To make it: kubectl create secret generic"
        return questions.Deaf("ReferenceNotFound", f"{text} {secret} --namespace {namespace} {_MADE}")
    if not material.decode(body).get(tokens.KEY, "").strip():
        text = f"deliveries are refused, for Secret {secret} has no key {tokens.KEY}, or an empty one"
        return questions.Deaf("ReferenceNotFound", f"{text}; put there what the forge was given")
    return None


def _grant(namespace: str, secret: str, options: settings.Settings) -> str:
    return (
        f"deliveries are refused, for the operator may not read Secret {secret}. To let it:"
        f" kubectl create rolebinding {names.SECRET_READER} --namespace {namespace}"
        f" --clusterrole {names.SECRET_READER} --serviceaccount {options.namespace}:{options.service_account}"
    )
