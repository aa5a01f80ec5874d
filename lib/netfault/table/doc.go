// Package table opens nftables tables that do not outlive us: they carry the kernel's owner flag, so the kernel
// removes them, with all their chains and rules, when the socket that made them is closed, by whatever end of the
// program. It needs Linux 5.12 or later; an older kernel refuses the flag, and [Open] says so.
package table
