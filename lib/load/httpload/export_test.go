package httpload

// Parking makes a generator whose turbo parks every request whose answer is not there at once.
func Parking() *Generator { return &Generator{patience: -1} }
