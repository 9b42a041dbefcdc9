// For libFuzzer: clang++ -fsanitize=fuzzer,address,undefined fuzz_clang.cpp

#include "fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::once(data, size);
    return 0;
}
