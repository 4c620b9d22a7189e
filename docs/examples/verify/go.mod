module relight.example/verify

go 1.19
