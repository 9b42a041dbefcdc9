// How long to wait before the next attempt: random and growing, so that a thousand games whose
// server comes back do not all knock at the same moment.
#pragma once

#include <algorithm>
#include <cstdint>

#include "bounds.h"

namespace palaver {

/// Small random numbers for waits and choices; nothing secret depends on them (splitmix64).
class Random {
public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15u;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
        return mixed ^ (mixed >> 31);
    }
    /// Returns one of 0 ... bound - 1.
    std::uint64_t below(std::uint64_t bound) { return bound > 1 ? next() % bound : 0; }

private:
    std::uint64_t state_;
};

/// Full jitter: the n-th attempt comes after 0 to min(cap, base * 2^n).
class Backoff {
public:
    explicit Backoff(std::uint64_t seed, Millis base = kRetryBaseMs, Millis cap = kRetryCapMs)
        : random_(seed), base_(base), cap_(cap) {}

    /// Returns the wait before the next attempt.
    /// @param lived  How long the connection that ended was there.
    Millis next(Millis lived) {
        attempt_ = lived > kStableMs ? 0 : attempt_ + 1;
        return static_cast<Millis>(random_.below(static_cast<std::uint64_t>(ceiling()) + 1));
    }
    /// Returns the longest that the last wait could have been.
    Millis ceiling() const { return (std::min)(cap_, base_ << (std::min)(attempt_, 20)); }

private:
    Random random_;
    Millis base_;
    Millis cap_;
    int attempt_ = 0;
};

/// Keeps to the rate that the server allows, so that it need not refuse anything.
class Pace {
public:
    void restart(double per_s, Millis now) {
        per_s_ = (std::max)(1.0, per_s);
        left_ = per_s_;
        at_ = now;
    }
    bool take(Millis now) {
        left_ = (std::min)(per_s_, left_ + static_cast<double>(now - at_) * per_s_ / 1000.0);
        at_ = now;
        if (left_ < 1) {
            return false;
        }
        left_ -= 1;
        return true;
    }

private:
    double per_s_ = 1;
    double left_ = 1;
    Millis at_ = 0;
};

}  // namespace palaver
