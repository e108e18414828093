// Quantised weight matrices in the layout that the products read.
//
// Outputs come in tiles of 16, one lane each; inputs in groups of 32. A tile's groups follow each other, so
// that a product streams memory once, in order. In a group, lane n of vector v holds the four
// consecutive inputs 4v … 4v+3 of output n, which is what one dot-product instruction takes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "vec.h"

namespace inferloom {

constexpr int kTile = 16;
constexpr int kGroup = 32;

// Kinds of stored weights. A weight is scale · q + offset, with q unsigned in Q4 and signed in Q8.
enum Kind : int {
  kQ4 = 0,    // 4 bits; float16 scale and offset per group of 32 (GGUF Q4_0, Q4_1)
  kQ4F = 1,   // 4 bits; float32 scale and offset per group of 32 (GGUF Q4_K)
  kQ8 = 2,    // 8 bits; float16 scale per group of 32 (GGUF Q8_0)
  kQ8F = 3,   // 8 bits; float32 scale per half group of 16 (GGUF Q6_K)
  kBF16 = 4,  // bfloat16; two consecutive inputs per lane and vector
};

// Bytes of one group of one tile.
constexpr size_t group_bytes(Kind kind) {
  switch (kind) {
    case kQ4: return 256 + 2 * kTile * 2;
    case kQ4F: return 256 + 2 * kTile * 4;
    case kQ8: return 512 + kTile * 2;
    case kQ8F: return 512 + 2 * kTile * 4;
    case kBF16: return kGroup * kTile * 2;
  }
  return 0;
}

struct Matrix {
  Kind kind = kQ4;
  int rows = 0;  // outputs, a multiple of kTile
  int cols = 0;  // inputs, a multiple of kGroup
  uint8_t* data = nullptr;

  int tiles() const { return rows / kTile; }
  int groups() const { return cols / kGroup; }
  size_t tile_bytes() const { return groups() * group_bytes(kind); }
  size_t bytes() const { return tiles() * tile_bytes(); }
  const uint8_t* tile(int index) const { return data + index * tile_bytes(); }

  void allocate(Kind k, int r, int c) {
    kind = k, rows = r, cols = c;
    data = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes() + 63) / 64 * 64));
  }
  void release() { std::free(data), data = nullptr; }
};

// Writes one group of one output. q holds kGroup values (Q4: 0 … 15; Q8: -128 … 127); scale and offset hold
// one value each, or for kQ8F two scales.
inline void put_group(const Matrix& m, int row, int group, const int8_t* q, const float* scale, float offset) {
  uint8_t* at = m.data + (row / kTile) * m.tile_bytes() + group * group_bytes(m.kind);
  const int lane = row % kTile;
  if (m.kind == kQ4 || m.kind == kQ4F) {
    for (int k = 0; k < 16; ++k)
      at[(k / 4) * 64 + lane * 4 + k % 4] = static_cast<uint8_t>(q[k] | (q[k + 16] << 4));
    at += 256;
    if (m.kind == kQ4) {
      auto* h = reinterpret_cast<uint16_t*>(at);
      h[lane] = f32_to_f16(scale[0]), h[kTile + lane] = f32_to_f16(offset);
    } else {
      auto* f = reinterpret_cast<float*>(at);
      f[lane] = scale[0], f[kTile + lane] = offset;
    }
    return;
  }
  for (int k = 0; k < 32; ++k)
    at[(k / 4) * 64 + lane * 4 + k % 4] = static_cast<uint8_t>(q[k] + 128);
  at += 512;
  if (m.kind == kQ8) {
    reinterpret_cast<uint16_t*>(at)[lane] = f32_to_f16(scale[0]);
  } else {
    auto* f = reinterpret_cast<float*>(at);
    f[lane] = scale[0], f[kTile + lane] = scale[1];
  }
}

// Writes one row of a kBF16 matrix.
inline void put_bf16(const Matrix& m, int row, const uint16_t* values) {
  const int lane = row % kTile;
  for (int c = 0; c < m.cols; ++c) {
    uint8_t* group = m.data + (row / kTile) * m.tile_bytes() + (c / kGroup) * group_bytes(kBF16);
    reinterpret_cast<uint16_t*>(group)[(c % kGroup / 2) * 2 * kTile + lane * 2 + c % 2] = values[c];
  }
}

}  // namespace inferloom
