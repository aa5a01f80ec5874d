#include "textflag.h"

// func callC(fn, a uintptr, b unsafe.Pointer) uintptr
TEXT ·callC(SB), NOSPLIT, $32-32
	MOVD fn+0(FP), R9
	MOVD a+8(FP), R0
	MOVD b+16(FP), R1
	CALL (R9)
	MOVD R0, ret+24(FP)
	RET
