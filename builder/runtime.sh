#!/bin/sh
# Collects a Python with its libraries, git and ssh below /.strata of the folder OUT, so that they run from there in any root,
# one without a libc included: each program names the loader and the libraries of /.strata itself.
#   runtime.sh OUT REQUIREMENTS SOURCES...     (Debian; the packages below must be installable)
# OUT is a function of the arguments and of the versions that apt-get installs, but for file times: SOURCE_DATE_EPOCH sees to those.
set -eu
umask 022
export LC_ALL=C.UTF-8
out=$1 requirements=$2
shift 2
home=$out/.strata
python=python3.11

apt-get update -q
apt-get install -qy --no-install-recommends ca-certificates git openssh-client patchelf python3 python3-pip

mkdir -p "$home/bin" "$home/lib" "$home/libexec/git-core" "$home/etc/ssl/certs"
cp /usr/bin/$python "$home/bin/$python"
ln -s $python "$home/bin/python3"
cp -a /usr/lib/$python "$home/lib/$python"
cd "$home/lib/$python"
rm -rf test idlelib lib2to3 tkinter turtledemo ensurepip pydoc_data turtle.py distutils config-3.11-* lib-dynload/*_test*.so \
  lib-dynload/_dbm*.so lib-dynload/_curses*.so lib-dynload/readline*.so EXTERNALLY-MANAGED sitecustomize.py _sysconfigdata_*
find . -name __pycache__ -prune -exec rm -rf {} +
packages=$home/lib/python3/dist-packages
mkdir -p "$packages"
pip3 install -q --no-cache-dir --no-compile --break-system-packages --root-user-action=ignore --require-hashes \
  --only-binary :all: --target "$packages" -r "$requirements"
for source in "$@"; do cp -a "$source" "$packages/"; done
rm -rf "$packages/bin"
find "$packages" -name __pycache__ -prune -exec rm -rf {} +
find "$packages" \( -name tests -o -name test \) -type d -prune -exec rm -rf {} +

cp /usr/bin/git /usr/bin/ssh "$home/bin/"
for helper in git-remote-http git-http-fetch; do cp "/usr/lib/git-core/$helper" "$home/libexec/git-core/"; done
ln -s git-remote-http "$home/libexec/git-core/git-remote-https"
cp /etc/ssl/certs/ca-certificates.crt "$home/etc/ssl/certs/"

# A program's own (old-style) rpath also holds for what its extension modules ask for.
# Every library that any of these files needs, under the name by which it is asked for.
loader=$(ls /lib64/ld-linux-*.so.? /lib/ld-linux-*.so.? 2>/dev/null | head -n 1)
cp -L "$loader" "$home/lib/"
loader=/.strata/lib/$(basename "$loader")
elves() { find "$home/bin" "$home/libexec" "$home/lib" -type f \( -perm -u+x -o -name '*.so*' \) -exec sh -c '
  for file; do [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] && echo "$file"; done; true' _ {} +; }
needed=$(for file in $(elves); do ldd "$file" 2>/dev/null || true; done)
if echo "$needed" | grep 'not found' >&2; then echo "runtime.sh: no package above has these libraries" >&2; exit 1; fi
for library in $(echo "$needed" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' | sort -u); do
  case $library in "$home"/*) ;; *) cp -Ln "$library" "$home/lib/" ;; esac
done
cp -L /lib/*-linux-gnu/libnss_dns.so.2 /lib/*-linux-gnu/libnss_files.so.2 "$home/lib/"
chmod -R u=rwX,go=rX "$home"  # also where the sources come from a checkout with another umask
for file in $(elves); do
  case $file in
    */lib/ld-linux-*) ;;
    */bin/* | */git-core/*) patchelf --set-interpreter "$loader" --force-rpath --set-rpath /.strata/lib "$file" ;;
    "$home"/lib/lib*) patchelf --set-rpath /.strata/lib "$file" ;;
    *) ;;
  esac
done

# The pyc files hold a hash of their source and are believed: no look at the source at start. What marshal writes depends on
# what else the process has in memory, so one process, knowing nothing of its environment, compiles all in alphabetical order.
env -i "/usr/bin/$python" -I -m compileall -q --invalidation-mode unchecked-hash -s "$out" "$home/lib/$python" "$packages"

mkdir -p "$out/etc" "$out/tmp"
chmod 1777 "$out/tmp"
printf 'root:x:0:0:root:/:/none\nstrata:x:65532:65532:strata:/tmp:/none\n' > "$out/etc/passwd"
printf 'root:x:0:\nstrata:x:65532:\n' > "$out/etc/group"

# Of no use to OUT, and of much weight in the layer of this step.
apt-get clean
rm -rf /var/lib/apt/lists/*
