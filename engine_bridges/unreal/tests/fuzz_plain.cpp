// Where there is no libFuzzer: the same inputs each time, made from files by simple changes.
//
//     fuzz_plain INPUTS SECONDS FILE...     ends after so many inputs, or after this time

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "fuzz.h"

namespace {

std::string read_file(const char* path) {
    std::string content;
    std::FILE* file = std::fopen(path, "rb");
    for (int c = file ? std::fgetc(file) : EOF; c != EOF; c = std::fgetc(file)) {
        content += static_cast<char>(c);
    }
    if (file != nullptr) {
        std::fclose(file);
    }
    return content;
}

/// Changes an input in a few places, as damage or malice might.
void mutate(std::string& input, const std::vector<std::string>& others, palaver::Random& random) {
    static const char* const kPieces[] = {"\"", "\\", "\\ud800", "[[[[[[", "}", ",", ":", "1e999",
                                          "-",  "\n", "\n\n",    "\xFF",   "0", "null", "\"seq\":"};
    for (std::uint64_t left = random.below(6) + 1; left > 0; --left) {
        const std::size_t at = random.below(input.size() + 1);
        const std::size_t size = random.below(12);
        switch (random.below(5)) {
            case 0: input.erase(at, size); break;
            case 1: input.insert(at, kPieces[random.below(15)]); break;
            case 2:
                if (at < input.size()) {
                    input[at] = static_cast<char>(random.below(256));
                }
                break;
            case 3: input.insert(at, input.substr(random.below(input.size() + 1), size * 4)); break;
            default: {
                const std::string& other = others[random.below(others.size())];
                const std::size_t from = random.below(other.size() + 1);
                input.insert(at, other.substr(from, random.below(200)));
            }
        }
    }
    input.resize(input.size() < 20'000 ? input.size() : 20'000);
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> seeds;
    for (int file = 3; file < argc; ++file) {
        seeds.push_back(read_file(argv[file]));
    }
    if (seeds.empty()) {
        std::fprintf(stderr, "usage: fuzz_plain INPUTS SECONDS FILE...\n");
        return 2;
    }
    const long inputs = std::atol(argv[1]);
    const std::time_t end = std::time(nullptr) + std::atol(argv[2]);
    palaver::Random random(1);
    long done = 0;
    for (; done < inputs && std::time(nullptr) < end; ++done) {
        std::string input = seeds[random.below(seeds.size())];
        mutate(input, seeds, random);
        fuzz::once(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    }
    std::fprintf(stdout, "%ld inputs\n", done);
    return 0;
}
