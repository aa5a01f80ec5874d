package sysfault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A stub stands in for one function of the vDSO: it asks the kernel, and adds the skew to a wall clock. It uses the
// registers that a C function may, and no memory but the caller's and some of its stack.
type stub struct {
	name   string // of the function it stands for
	code   []byte // with the placeholders in it
	second int    // how many of its smaller unit are one: 1e9 for ns, 1e6 for µs
}

// Placeholders in the code of stubs: whole seconds of the skew, rounded down, and what is left of it, never below 0.
const (
	wholePlace = 0x1122334455667788
	restPlace  = 0x7a7b7c7d
)

// An isa is a processor's stubs and how it jumps to them.
type isa struct {
	stubs []stub
	// jump is what is written at the beginning of a function so that it goes on n bytes from its first one.
	jump func(n int64) ([]byte, error)
}

// with puts a skew into the code.
func (s stub) with(skew time.Duration) ([]byte, error) {
	whole, rest := int64(skew/time.Second), int64(skew%time.Second)
	if rest < 0 {
		whole, rest = whole-1, rest+int64(time.Second)
	}
	rest /= int64(time.Second) / int64(s.second)
	code := append([]byte(nil), s.code...)
	var eight [8]byte
	binary.LittleEndian.PutUint64(eight[:], wholePlace)
	w := indexOnce(code, eight[:])
	binary.LittleEndian.PutUint32(eight[:4], restPlace)
	r := indexOnce(code, eight[:4])
	if w < 0 || r < 0 {
		return nil, errors.New("the stub has lost its placeholders")
	}
	binary.LittleEndian.PutUint64(code[w:], uint64(whole))
	binary.LittleEndian.PutUint32(code[r:], uint32(rest))
	return code, nil
}

// indexOnce is where b has part, if it has it once.
func indexOnce(b, part []byte) int {
	at := -1
	for i := 0; i+len(part) <= len(b); i++ {
		if string(b[i:i+len(part)]) == string(part) {
			if at >= 0 {
				return -1
			}
			at = i
		}
	}
	return at
}

// amd64 is x86-64. System call numbers: arch/x86/entry/syscalls/syscall_64.tbl of the kernel.
func amd64() isa {
	return isa{
		stubs: []stub{
			{name: "__vdso_clock_gettime", second: 1e9, code: []byte{
				0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
				0x0f, 0x05, // syscall
				0x85, 0xff, // test edi, edi
				0x74, 0x05, // je +5: CLOCK_REALTIME
				0x83, 0xff, 0x05, // cmp edi, 5
				0x75, 0x31, // jne end: not CLOCK_REALTIME_COARSE
				0x85, 0xc0, // test eax, eax
				0x75, 0x2d, // jne end: an error
				0x48, 0xb9, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // mov rcx, seconds
				0x48, 0x01, 0x0e, // add [rsi], rcx
				0xb9, 0x7d, 0x7c, 0x7b, 0x7a, // mov ecx, nanoseconds
				0x48, 0x03, 0x4e, 0x08, // add rcx, [rsi+8]
				0x48, 0x81, 0xf9, 0x00, 0xca, 0x9a, 0x3b, // cmp rcx, 1000000000
				0x72, 0x0a, // jb +10
				0x48, 0x81, 0xe9, 0x00, 0xca, 0x9a, 0x3b, // sub rcx, 1000000000
				0x48, 0xff, 0x06, // inc qword [rsi]
				0x48, 0x89, 0x4e, 0x08, // mov [rsi+8], rcx
				0xc3, // end: ret
			}},
			{name: "__vdso_gettimeofday", second: 1e6, code: []byte{
				0xb8, 0x60, 0x00, 0x00, 0x00, // mov eax, 96 (gettimeofday)
				0x0f, 0x05, // syscall
				0x85, 0xc0, // test eax, eax
				0x75, 0x32, // jne end
				0x48, 0x85, 0xff, // test rdi, rdi
				0x74, 0x2d, // je end: only the time zone is asked for
				0x48, 0xb9, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // mov rcx, seconds
				0x48, 0x01, 0x0f, // add [rdi], rcx
				0xb9, 0x7d, 0x7c, 0x7b, 0x7a, // mov ecx, microseconds
				0x48, 0x03, 0x4f, 0x08, // add rcx, [rdi+8]
				0x48, 0x81, 0xf9, 0x40, 0x42, 0x0f, 0x00, // cmp rcx, 1000000
				0x72, 0x0a, // jb +10
				0x48, 0x81, 0xe9, 0x40, 0x42, 0x0f, 0x00, // sub rcx, 1000000
				0x48, 0xff, 0x07, // inc qword [rdi]
				0x48, 0x89, 0x4f, 0x08, // mov [rdi+8], rcx
				0xc3, // end: ret
			}},
			{name: "__vdso_time", second: 1e9, code: []byte{
				0x48, 0x89, 0xfa, // mov rdx, rdi
				0x48, 0x83, 0xec, 0x10, // sub rsp, 16
				0xbf, 0x05, 0x00, 0x00, 0x00, // mov edi, 5 (CLOCK_REALTIME_COARSE, what time(2) reads)
				0x48, 0x89, 0xe6, // mov rsi, rsp
				0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
				0x0f, 0x05, // syscall
				0x48, 0x8b, 0x04, 0x24, // mov rax, [rsp]
				0x48, 0xb9, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, // mov rcx, seconds
				0x48, 0x01, 0xc8, // add rax, rcx
				0xb9, 0x7d, 0x7c, 0x7b, 0x7a, // mov ecx, nanoseconds
				0x48, 0x03, 0x4c, 0x24, 0x08, // add rcx, [rsp+8]
				0x48, 0x81, 0xf9, 0x00, 0xca, 0x9a, 0x3b, // cmp rcx, 1000000000
				0x72, 0x03, // jb +3
				0x48, 0xff, 0xc0, // inc rax
				0x48, 0x83, 0xc4, 0x10, // add rsp, 16
				0x48, 0x85, 0xd2, // test rdx, rdx
				0x74, 0x03, // je end
				0x48, 0x89, 0x02, // mov [rdx], rax
				0xc3, // end: ret
			}},
		},
		jump: func(n int64) ([]byte, error) {
			n -= 5 // from the next instruction
			if n != int64(int32(n)) {
				return nil, fmt.Errorf("a jump over %d bytes is too far", n)
			}
			return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(n)), nil // jmp rel32
		},
	}
}

// arm64 is AArch64. System call numbers: include/uapi/asm-generic/unistd.h of the kernel.
func arm64() isa {
	return isa{
		stubs: []stub{
			{name: "__kernel_clock_gettime", second: 1e9, code: words(
				0x2a0003e9,             // mov w9, w0
				0xd2800e28,             // mov x8, #113 (clock_gettime)
				0xd4000001,             // svc #0
				0x350001e0,             // cbnz w0, end: an error
				0x34000069,             // cbz w9, +12: CLOCK_REALTIME
				0x7100153f,             // cmp w9, #5
				0x54000181,             // b.ne end: not CLOCK_REALTIME_COARSE
				0x580001aa,             // ldr x10, seconds
				0x580001cb,             // ldr x11, nanoseconds
				0xa940342c,             // ldp x12, x13, [x1]
				0x8b0a018c,             // add x12, x12, x10
				0x8b0b01ad,             // add x13, x13, x11
				0x5800018a,             // ldr x10, 1000000000
				0xeb0a01bf,             // cmp x13, x10
				0x54000063,             // b.lo +12
				0xcb0a01ad,             // sub x13, x13, x10
				0x9100058c,             // add x12, x12, #1
				0xa900342c,             // stp x12, x13, [x1]
				0xd65f03c0,             // end: ret
				0xd503201f,             // nop
				0x55667788, 0x11223344, // seconds
				0x7a7b7c7d, 0, // nanoseconds
				1000000000, 0,
			)},
			{name: "__kernel_gettimeofday", second: 1e6, code: words(
				0xaa0003e9,             // mov x9, x0
				0xd2801528,             // mov x8, #169 (gettimeofday)
				0xd4000001,             // svc #0
				0x350001a0,             // cbnz w0, end
				0xb4000189,             // cbz x9, end: only the time zone is asked for
				0x580001aa,             // ldr x10, seconds
				0x580001cb,             // ldr x11, microseconds
				0xa940352c,             // ldp x12, x13, [x9]
				0x8b0a018c,             // add x12, x12, x10
				0x8b0b01ad,             // add x13, x13, x11
				0x5800018a,             // ldr x10, 1000000
				0xeb0a01bf,             // cmp x13, x10
				0x54000063,             // b.lo +12
				0xcb0a01ad,             // sub x13, x13, x10
				0x9100058c,             // add x12, x12, #1
				0xa900352c,             // stp x12, x13, [x9]
				0xd65f03c0,             // end: ret
				0xd503201f,             // nop
				0x55667788, 0x11223344, // seconds
				0x7a7b7c7d, 0, // microseconds
				1000000, 0,
			)},
		},
		jump: func(n int64) ([]byte, error) {
			n -= 4 // from the second instruction
			if n%4 != 0 || n < -(1<<27) || n >= 1<<27 {
				return nil, fmt.Errorf("a jump over %d bytes cannot be made", n)
			}
			// bti c first: where the processor checks it, an indirect call must land on one; elsewhere it does nothing.
			return words(0xd503245f, 0x14000000|uint32(n/4)&0x03ffffff), nil // b
		},
	}
}

func words(all ...uint32) []byte {
	var b []byte
	for _, w := range all {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}
