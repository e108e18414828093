// Products of weight matrices with rows of activations.
//
// For quantised weights, activations are rounded to 16 bits in groups of 32 with a float32 scale each. (Eight bits, as
// llama.cpp has it, are the larger part of a 4-bit model's error.) The order of operations on a row does not depend on
// how many rows there are: a row's result is the same bit for bit alone and in a batch.
#pragma once

#include "weights.h"

#ifdef __AVX512F__
#include "product_vnni.h"
#elif defined(__AVX2__)
#include "product_avx2.h"
#else
#include "product_generic.h"
#endif

namespace inferloom {

// Calls sink(row, tile, out) with the 16 outputs of every row for tiles begin … end - 1.
template <class Sink>
inline void multiply(const Matrix& m, int begin, int end, const Activations& x, int rows, Sink&& sink) {
  switch (m.kind) {
    case kQ4: return multiply<kQ4>(m, begin, end, x, rows, sink);
    case kQ4F: return multiply<kQ4F>(m, begin, end, x, rows, sink);
    case kQ8: return multiply<kQ8>(m, begin, end, x, rows, sink);
    case kQ8F: return multiply<kQ8F>(m, begin, end, x, rows, sink);
    case kBF16: return multiply<kBF16>(m, begin, end, x, rows, sink);
    case kQ12:
      if constexpr (kHoldsQ12) multiply<kQ12>(m, begin, end, x, rows, sink);
      return;
  }
}

}  // namespace inferloom
