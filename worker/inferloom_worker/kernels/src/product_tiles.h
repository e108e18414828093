// What products with 16-bit activations share: scales of groups, rows in fours, and bfloat16 matrices.
#pragma once

#include <type_traits>

#include "activations.h"
#include "product_plain.h"

namespace inferloom {

// What a tile's group adds to a row: scale · dot + offset · (sum of activations), or for kQ8F, where `offset` is the
// second half's scale, the same of each half, whose excess is taken off the dot.
struct Scales {
  f32x16 scale, offset;
};

template <Kind K>
inline Scales scales_of(const uint8_t* group) {
  const uint8_t* end = group + 64 * kVectors<K>;
  const auto* h = reinterpret_cast<const uint16_t*>(end);
  const auto* f = reinterpret_cast<const float*>(end);
  if constexpr (K == kQ12) return {load(f), zero()};
  if constexpr (K == kQ4F || K == kQ8F) return {load(f), load(f + kTile)};
  const f32x16 d = load_f16(h);
  // 8-bit weights are stored with 128 added.
  return {d, K == kQ8 ? d * set1(-128.0f) : load_f16(h + kTile)};
}

// Calls pass(row, count) over rows in fours and what is left, count a constant.
template <class Pass>
inline void in_fours(int rows, Pass&& pass) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) pass(row, std::integral_constant<int, 4>{});
  switch (rows - row) {
    case 1: return pass(row, std::integral_constant<int, 1>{});
    case 2: return pass(row, std::integral_constant<int, 2>{});
    case 3: return pass(row, std::integral_constant<int, 3>{});
  }
}

template <class Sink>
inline void multiply_bf16(const Matrix& m, int begin, int end, const Activations& x, int rows, Sink&& sink) {
  const auto product = [&](int tile, int row, auto r, auto n) {
    constexpr int R = decltype(r)::value, N = decltype(n)::value;
    f32x16 out[R][N];
    product_plain<R, N>(m.tile(tile), m.tile_bytes(), x.plain.data() + size_t(row) * x.cols, x.cols, out);
    for (int i = 0; i < R; ++i)
      for (int j = 0; j < N; ++j) sink(row + i, tile + j, out[i][j]);
  };
  int tile = begin;
  // Four tiles side by side hide a single row's latencies.
  if (rows == 1)
    for (; tile + 4 <= end; tile += 4)
      product(tile, 0, std::integral_constant<int, 1>{}, std::integral_constant<int, 4>{});
  for (; tile < end; ++tile)
    in_fours(rows, [&](int row, auto count) { product(tile, row, count, std::integral_constant<int, 1>{}); });
}

}  // namespace inferloom
