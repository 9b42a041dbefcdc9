// Reads one number. Not by strtod, which asks the machine's locale whether a number has a point or
// a comma; and std::from_chars reads no doubles in some of the libraries that engines use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "json_value.h"

namespace palaver {

class NumberReader {
public:
    NumberReader(std::string_view source, std::size_t at) : source_(source), at_(at) {}

    /// Reads a number; returns false where there is none.
    bool read(Node& out) {
        const bool minus = take('-');
        double whole = 0;
        std::uint64_t exact = 0;
        bool fits = true;
        if (!digit()) {
            return false;
        }
        for (; digit(); ++at_) {
            const auto figure = static_cast<unsigned>(source_[at_] - '0');
            whole = whole * 10 + figure;
            fits = fits && exact <= (static_cast<std::uint64_t>(INT64_MAX) - figure) / 10;
            exact = fits ? exact * 10 + figure : 0;
        }
        int scale = 0;
        bool fraction = false;
        if (take('.')) {
            if (!digit()) {
                return false;
            }
            for (; digit(); ++at_) {
                const auto figure = static_cast<unsigned>(source_[at_] - '0');
                fraction = fraction || figure != 0;
                // Further figures than a double can hold change nothing.
                if (whole < 1e17 && scale > -60) {
                    whole = whole * 10 + figure;
                    --scale;
                }
            }
        }
        const bool exponent = take('e') || take('E');
        if (exponent && !power(scale)) {
            return false;
        }
        for (; scale > 0 && whole <= 1e307; --scale) {
            whole *= 10;
        }
        double divisor = 1;
        for (; scale < 0; ++scale) {
            divisor *= 10;
            if (divisor >= 1e300) {
                whole /= divisor;
                divisor = 1;
            }
        }
        out.kind = Kind::number;
        out.number = (minus ? -1 : 1) * (whole / divisor);
        if (!fraction && !exponent && fits) {
            out.whole = true;
            out.integer = minus ? -static_cast<std::int64_t>(exact)
                                : static_cast<std::int64_t>(exact);
        } else if (out.number > -9e15 && out.number < 9e15) {
            // Such as 2e1; beyond, a double leaves integers out.
            out.integer = static_cast<std::int64_t>(out.number);
            out.whole = static_cast<double>(out.integer) == out.number;
        }
        return true;
    }

    /// Where the number ends.
    std::size_t at() const { return at_; }

private:
    bool power(int& scale) {
        const bool down = take('-');
        if (!down) {
            take('+');
        }
        if (!digit()) {
            return false;
        }
        int power = 0;
        for (; digit(); ++at_) {
            power = power < 400 ? power * 10 + (source_[at_] - '0') : power;
        }
        scale += down ? -power : power;
        return true;
    }

    bool digit() const {
        return at_ < source_.size() && source_[at_] >= '0' && source_[at_] <= '9';
    }

    bool take(char wanted) {
        const bool there = at_ < source_.size() && source_[at_] == wanted;
        at_ += there ? 1 : 0;
        return there;
    }

    std::string_view source_;
    std::size_t at_;
};

}  // namespace palaver
