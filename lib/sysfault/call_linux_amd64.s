#include "textflag.h"

// func callC(fn, a uintptr, b unsafe.Pointer) uintptr
TEXT ·callC(SB), NOSPLIT, $32-32
	MOVQ fn+0(FP), AX
	MOVQ a+8(FP), DI
	MOVQ b+16(FP), SI
	CALL AX
	MOVQ AX, ret+24(FP)
	RET
