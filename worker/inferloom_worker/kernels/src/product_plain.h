// Products of bfloat16 weights with float32 activations: nothing is rounded but the sums.
#pragma once

#include "weights.h"

namespace inferloom {

// out[r][n] = tile n · row r of x [R, cols]. Tiles are tile_bytes apart.
template <int R, int N>
inline void product_plain(const uint8_t* tile, size_t tile_bytes, const float* x, int cols, f32x16 (&out)[R][N]) {
  f32x16 sum[R][N];
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) sum[r][n] = zero();
  for (int c = 0; c < cols; c += 2, tile += 64) {
    for (int n = 0; n < N; ++n) {
      f32x16 even, odd;
      load_bf16_pairs(tile + n * tile_bytes, even, odd);
      for (int r = 0; r < R; ++r) {
        const float* pair = x + size_t(r) * cols + c;
        sum[r][n] = fma(odd, set1(pair[1]), fma(even, set1(pair[0]), sum[r][n]));
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int n = 0; n < N; ++n) out[r][n] = sum[r][n];
}

}  // namespace inferloom
