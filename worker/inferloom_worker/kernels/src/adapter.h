// LoRA adapters: low-rank changes of a decoder's projections (Hu et al., ICLR 2022), in float32.
//
// A row's change is computed by itself, beside the product: rows with different adapters share a step, and rows
// without one are not touched.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "vec.h"

namespace inferloom {

enum Projection : int { kQkv = 0, kOutput = 1, kGateUp = 2, kDown = 3, kProjections = 4 };

// The change of one projection: b · (a · x), its parts over the low-rank values that a gives them.
struct Change {
  // Of the outputs from `first` on, in whole tiles of 16, by the low-rank values from `low` on.
  struct Part {
    int first, outputs, low, rank;
    std::vector<float> b;  // [outputs / 16, rank, 16]
  };

  int rank = 0, inputs = 0;  // rank: of all parts together
  std::vector<float> a;      // [rank, inputs]
  std::vector<Part> parts;

  // low = a · x
  void reduce(const float* x, float* low) const {
    int k = 0;
    for (; k + 4 <= rank; k += 4) dot<4>(&a[size_t(k) * inputs], x, low + k);
    for (; k < rank; ++k) dot<1>(&a[size_t(k) * inputs], x, low + k);
  }

  // Adds to the 16 outputs from `at` on what the low-rank values make of them.
  f32x16 expand(const float* low, int at, f32x16 out) const {
    for (const Part& part : parts) {
      if (at < part.first || at >= part.first + part.outputs) continue;
      const float* b = &part.b[size_t(at - part.first) * part.rank];
      for (int k = 0; k < part.rank; ++k) out = fma(set1(low[part.low + k]), load(b + k * 16), out);
    }
    return out;
  }

 private:
  // Products of N rows with x.
  template <int N>
  void dot(const float* rows, const float* x, float* out) const {
    f32x16 sums[N];
    for (int n = 0; n < N; ++n) sums[n] = zero();
    for (int i = 0; i < inputs; i += 16) {
      const f32x16 v = load(x + i);
      for (int n = 0; n < N; ++n) sums[n] = fma(load(rows + size_t(n) * inputs + i), v, sums[n]);
    }
    for (int n = 0; n < N; ++n) out[n] = reduce_add(sums[n]);
  }
};

// Inputs and outputs of a projection.
struct Width {
  int inputs, outputs;
  bool operator==(const Width& other) const { return inputs == other.inputs && outputs == other.outputs; }
};

struct Adapter {
  Adapter(int layers, const std::array<Width, kProjections>& widths) : widths(widths), layers(layers) {}

  const std::array<Width, kProjections> widths;  // of the model that it is for
  std::vector<std::array<Change, kProjections>> layers;

  int rank() const {
    int most = 0;
    for (const auto& layer : layers)
      for (const Change& change : layer) most = std::max(most, change.rank);
    return most;
  }
};

}  // namespace inferloom
