// Refusing what the caller must not ask for. Everything is checked where it enters, once for a call and never in a
// loop over numbers; past that, sizes are trusted.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace inferloom {

inline void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

inline void require_between(long long value, long long least, long long below, const char* what) {
  if (value < least || value >= below)
    throw std::invalid_argument(std::string(what) + " is " + std::to_string(value) + ", outside of " +
                                std::to_string(least) + " to " + std::to_string(below - 1));
}

inline void require_size(long long value, long long expected, const char* what) {
  if (value != expected)
    throw std::invalid_argument(std::string(what) + " has " + std::to_string(value) + " numbers, not " +
                                std::to_string(expected));
}

// Bounds far above every model: products of two of them fit in 63 bits.
constexpr long long kMostWidth = 1 << 24;
constexpr long long kMostLayers = 1 << 16;

}  // namespace inferloom
