module inferloom.example

go 1.19
