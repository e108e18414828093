// Quantised weight matrices in the layout that the products read.
//
// Outputs come in tiles of 16, one lane each; inputs in groups of 32. A tile's groups follow each other, so
// that a product streams memory once, in order. In a group, lane n of vector v holds the four
// consecutive inputs 4v … 4v+3 of output n, which is what one dot-product instruction takes.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "vec.h"

namespace inferloom {

constexpr int kTile = 16;
constexpr int kGroup = 32;

// A group of activations below it is 0: the factor that rounding needs would be infinite.
constexpr float kLeastActivation = 1e-30f;

// Kinds of stored weights. A weight is scale · q + offset, with q unsigned in Q4 and signed in Q8.
enum Kind : int {
  kQ4 = 0,    // 4 bits; float16 scale and offset per group of 32 (GGUF Q4_0, Q4_1)
  kQ4F = 1,   // 4 bits; float32 scale and offset per group of 32 (GGUF Q4_K)
  kQ8 = 2,    // 8 bits; float16 scale per group of 32 (GGUF Q8_0)
  kQ8F = 3,   // 8 bits; float32 scale per half group of 16 (GGUF Q6_K)
  kBF16 = 4,  // bfloat16; two consecutive inputs per lane and vector
  kQ12 = 5,   // 12 bits in 16; float32 scale per group of 32; two inputs per lane and vector
};

// Bytes of one group of one tile.
constexpr size_t group_bytes(Kind kind) {
  switch (kind) {
    case kQ4: return 256 + 2 * kTile * 2;
    case kQ4F: return 256 + 2 * kTile * 4;
    case kQ8: return 512 + kTile * 2;
    case kQ8F: return 512 + 2 * kTile * 4;
    case kBF16: return kGroup * kTile * 2;
    case kQ12: return kGroup * kTile * 2 + kTile * 4;
  }
  return 0;
}

// Vectors of 64 bytes in a group.
template <Kind K>
constexpr int kVectors = K == kQ4 || K == kQ4F   ? 4
                         : K == kQ8 || K == kQ8F ? 8
                                                 : 16;

struct Matrix {
  Kind kind = kQ4;
  int rows = 0;  // outputs, a multiple of kTile
  int cols = 0;  // inputs, a multiple of kGroup
  uint8_t* data = nullptr;

  Matrix() = default;
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;
  // Vectors of layers are made in their final size, but may only be written with this.
  Matrix(Matrix&& other) noexcept : kind(other.kind), rows(other.rows), cols(other.cols), data(other.data) {
    other.data = nullptr;
  }
  ~Matrix() { std::free(data); }

  int tiles() const { return rows / kTile; }
  int groups() const { return cols / kGroup; }
  size_t tile_bytes() const { return groups() * group_bytes(kind); }
  size_t bytes() const { return tiles() * tile_bytes(); }
  const uint8_t* tile(int index) const { return data + index * tile_bytes(); }

  void allocate(Kind k, int r, int c) {
    std::free(data);
    kind = k, rows = r, cols = c;
    data = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes() + 63) / 64 * 64));
    if (data == nullptr) throw std::bad_alloc();
  }
};

// Writes one group of one output. q holds kGroup values (Q4: 0 … 15; Q8: -128 … 127; Q12: -2047 … 2047); scale and
// offset hold one value each, or for kQ8F two scales.
template <class Q>
inline void put_group(const Matrix& m, int row, int group, const Q* q, const float* scale, float offset) {
  uint8_t* at = m.data + (row / kTile) * m.tile_bytes() + group * group_bytes(m.kind);
  const int lane = row % kTile;
  if (m.kind == kQ4 || m.kind == kQ4F) {
    for (int k = 0; k < 16; ++k) at[(k / 4) * 64 + lane * 4 + k % 4] = static_cast<uint8_t>(q[k] | (q[k + 16] << 4));
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
  if (m.kind == kQ12) {
    // The order in which products read pairs: in every four inputs, 0 and 2, then 1 and 3.
    for (int k = 0; k < 32; ++k)
      reinterpret_cast<int16_t*>(at)[(k / 4 * 2 + k % 2) * 2 * kTile + lane * 2 + k % 4 / 2] = q[k];
    reinterpret_cast<float*>(at + 1024)[lane] = scale[0];
    return;
  }
  for (int k = 0; k < 32; ++k) at[(k / 4) * 64 + lane * 4 + k % 4] = static_cast<uint8_t>(q[k] + 128);
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

// Reads one row.
inline void get_row(const Matrix& m, int row, float* x) {
  const int lane = row % kTile;
  const uint8_t* at = m.tile(row / kTile);
  for (int g = 0; g < m.groups(); ++g, at += group_bytes(m.kind), x += kGroup) {
    const bool narrow = m.kind == kQ4 || m.kind == kQ4F;
    const uint8_t* end = at + (narrow ? 256 : m.kind == kQ12 ? 1024 : 512);
    const auto* h = reinterpret_cast<const uint16_t*>(end);
    const auto* f = reinterpret_cast<const float*>(end);
    const auto* wide = reinterpret_cast<const int16_t*>(at);
    for (int k = 0; k < kGroup; ++k) {
      if (m.kind == kBF16) {
        const uint32_t bits = uint32_t(uint16_t(wide[(k / 2) * 2 * kTile + lane * 2 + k % 2])) << 16;
        std::memcpy(&x[k], &bits, sizeof bits);
      } else if (m.kind == kQ12) {
        x[k] = f[lane] * wide[(k / 4 * 2 + k % 2) * 2 * kTile + lane * 2 + k % 4 / 2];
      } else if (narrow) {
        const uint8_t both = at[(k % 16 / 4) * 64 + lane * 4 + k % 4];
        const float q = k < 16 ? both & 15 : both >> 4;
        x[k] = m.kind == kQ4 ? q * f16_to_f32(h[lane]) + f16_to_f32(h[kTile + lane]) : q * f[lane] + f[kTile + lane];
      } else {
        const float q = int(at[(k / 4) * 64 + lane * 4 + k % 4]) - 128;
        x[k] = q * (m.kind == kQ8 ? f16_to_f32(h[lane]) : f[(k / 16) * kTile + lane]);
      }
    }
  }
}

}  // namespace inferloom
