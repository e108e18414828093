// Rows of activations that are rounded to 16 bits.
#pragma once

#include <algorithm>
#include <vector>

#include "weights.h"

namespace inferloom {

// Rounds 16 numbers, stores them in the order in which the products read them, and returns their sum.
int32_t round_activations(int16_t* out, f32x16 x);

// Rows of quantised activations.
struct Activations {
  // bfloat16 matrices are multiplied with whole float32 numbers here, so there is nothing to choose; see
  // product_vnni.h.
  explicit Activations(int = 2) {}

  int cols = 0;
  std::vector<int16_t> q;     // [rows, cols]
  std::vector<float> scale;   // [rows, cols / 32]
  std::vector<float> total;   // [rows, cols / 32]: scale · sum of q
  std::vector<int32_t> half;  // [rows, cols / 16]: sum of q over half a group
  std::vector<float> plain;   // [rows, cols]: as they are, for bfloat16 matrices

  void resize(int rows, int c) {
    cols = c;
    if (q.size() < size_t(rows) * c) {
      q.resize(size_t(rows) * c);
      scale.resize(size_t(rows) * (c / kGroup));
      total.resize(size_t(rows) * (c / kGroup));
      half.resize(size_t(rows) * (c / kGroup) * 2);
      plain.resize(size_t(rows) * c);
    }
  }

  // Rounds a row to what a matrix of the kind is multiplied with.
  void put_row(Kind kind, int row, const float* x) {
    if (kind == kBF16) {
      std::copy_n(x, cols, plain.data() + size_t(row) * cols);
    } else {
      quantize(row, x);
    }
  }

 private:
  void quantize(int row, const float* x) {
    const int groups = cols / kGroup;
    constexpr float kMost = 32767;
    f32x16 strange = zero();  // NaN where a number is not finite, else 0
    for (int g = 0; g < groups; ++g) {
      const size_t at = size_t(row) * groups + g;
      const f32x16 a = load(x + g * kGroup), b = load(x + g * kGroup + 16);
      strange = strange + ((a - a) + (b - b));
      const float most = reduce_max(max(abs(a), abs(b)));
      const float step = most / kMost;
      const f32x16 inverse = set1(most > kLeastActivation ? kMost / most : 0.0f);
      half[2 * at] = round_activations(q.data() + at * kGroup, a * inverse);
      half[2 * at + 1] = round_activations(q.data() + at * kGroup + 16, b * inverse);
      scale[at] = step;
      total[at] = step * float(int32_t(uint32_t(half[2 * at]) + uint32_t(half[2 * at + 1])));
    }
    // Rounding makes a number of NaN; the row's products must not look like a model's.
    scale[size_t(row) * groups] += reduce_add(strange);
  }
};

// R rows of activations.
template <int R>
struct Rows {
  const int16_t* q;
  const float *scale, *total;
  const int32_t* half;
  size_t cols, groups;

  Rows(const Activations& x, int first)
      : q(x.q.data() + size_t(first) * x.cols),
        scale(x.scale.data() + size_t(first) * (x.cols / kGroup)),
        total(x.total.data() + size_t(first) * (x.cols / kGroup)),
        half(x.half.data() + size_t(first) * (x.cols / kGroup) * 2),
        cols(x.cols),
        groups(x.cols / kGroup) {}
};

}  // namespace inferloom
