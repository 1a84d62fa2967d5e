"""A client of OCI registries (distribution-spec v1.1): one method a request, everything read is verified.

::

    pull, push                 what a build wants: a resolved base image; an image in a registry
    registries -> client       one Registry a host: settings, credentials, mirrors
    manifests, lists           a manifest by tag or digest; tags and referrers, page by page
    upload, download           a blob's way up (whole again on each try) and down (resumed, verified)
    session                    one request with authorisation, redirects and retries
    auth, challenges           pure: which request to send next, as a generator
    transport                  sockets: pool, TLS, proxies, address filter
"""
