#!/bin/sh
# Runs this package's tests under a Debian kernel that has the emulator, in QEMU, and prints a Markdown table of what was asked
# and what was delivered. For kernels that have none. It needs qemu-system-x86_64, dpkg-deb, depmod, cpio, Go, and either
# the network (apt-get download) or the kernel's package:
#
#   lib/netfault/netem/qemu.sh [linux-image-….deb]
#
# It ends after 5 minutes at most, and leaves nothing.
set -eu

package=$(cd "$(dirname "$0")" && pwd)
kernel=${1:-}
[ -z "$kernel" ] || kernel=$(realpath "$kernel")
for tool in qemu-system-x86_64 dpkg-deb depmod cpio go timeout; do
	command -v "$tool" >/dev/null || { echo "qemu.sh: there is no $tool (Debian: qemu-system-x86 dpkg kmod cpio golang coreutils)" >&2; exit 30; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

if [ -z "$kernel" ]; then
	# linux-image-cloud-amd64 names the newest; it has all modules that we need.
	name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$name" ] || { echo "qemu.sh: apt knows no linux-image-cloud-amd64" >&2; exit 30; }
	(cd "$work" && apt-get download "$name" >&2)
	kernel=$(echo "$work"/linux-image-*.deb)
fi
dpkg-deb -x "$kernel" "$work/kernel"
release=$(basename "$work"/kernel/lib/modules/*)
depmod -b "$work/kernel" "$release"

# The root: the tests as the first process, and the modules in the order in which they load.
mkdir "$work/root"
for module in veth ifb sch_netem sch_prio sch_ingress cls_u32 act_mirred; do
	modprobe -d "$work/kernel" -S "$release" --show-depends "$module" |
		sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
	cp "$file" "$work/root/"
	echo "/$(basename "$file")" >>"$work/root/modules"
done
case $(cat "$work/root/modules") in *.ko.*) echo "qemu.sh: the kernel's modules are compressed, which the tests do not load" >&2; exit 30 ;; esac
cp -r "$package/testdata" "$work/root/"
(cd "$package" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go test -c -o "$work/root/init" .)
(cd "$work/root" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/root.gz"

# The machine's clock goes by the instructions that it has executed (icount, 2 ns each, and idle time is skipped), so that how
# busy the host is does not matter: times are those of the kernel's own doing. KVM would have the host's noise in them.
timeout -k 5 300 qemu-system-x86_64 -accel tcg -cpu max -icount shift=1,sleep=off -m 768 -smp 1 -nographic -no-reboot -nodefaults \
	-serial stdio -kernel "$work/kernel/boot/vmlinuz-$release" -initrd "$work/root.gz" \
	-append "console=ttyS0 quiet panic=-1 TUTTI_FIDELITY=1 -- -test.v" </dev/null | sed -u 's|\r||g' | tee "$work/said"
grep -q '^exit code 0$' "$work/said" || { echo "qemu.sh: the tests did not pass" >&2; exit 1; }
grep -q '^--- PASS: TestEmulator' "$work/said" || { echo "qemu.sh: the emulator was not tried" >&2; exit 1; }
