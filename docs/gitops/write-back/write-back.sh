#!/bin/sh
# Writes the images of ImageBuilds into a git repository, as a kustomize component: FOLDER/kustomization.yaml.
#
#   REPOSITORY=https://git.example.com/team/shop.git FOLDER=app/images NAMESPACE=team write-back.sh web worker
#
# It needs git and kubectl, and may read ImageBuilds. What is there already is not written again; run it as often as you like.
# BRANCH: main if not given. git asks for a login in its own ways (GIT_ASKPASS, ~/.git-credentials, GIT_SSH_COMMAND).
set -eu
: "${REPOSITORY:?which git repository}" "${FOLDER:?which folder in it}" "${NAMESPACE:?of the ImageBuilds}"
: "${1:?which ImageBuilds}"
branch=${BRANCH:-main}
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet --depth=1 --branch "$branch" -- "$REPOSITORY" "$clone"
file=$clone/$FOLDER/kustomization.yaml
mkdir -p "$clone/$FOLDER"
{
  printf 'apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages:\n'
  for name in "$@"; do
    image=$(kubectl --namespace "$NAMESPACE" get imagebuild "$name" --output 'jsonpath={.status.image}')
    if [ -z "$image" ]; then
      echo "ImageBuild $name has no image yet: nothing is written" >&2
      exit 1
    fi
    printf -- '- name: "%s"\n  newName: "%s"\n  digest: "%s"\n' "$name" "${image%@*}" "${image#*@}"
  done
} > "$file.new"
mv "$file.new" "$file"
git -C "$clone" add --all
if git -C "$clone" diff --cached --quiet; then
  echo "all images are in $FOLDER already"
else
  git -C "$clone" commit --quiet --message "Deploy $*"
  git -C "$clone" push --quiet origin "HEAD:refs/heads/$branch"
  git -C "$clone" log -1 --format='%h %s'
fi
