// Drawing a token from a row of logits: temperature, top-k, top-p, min-p, then inverse transform.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "vec.h"

namespace inferloom {

struct Filter {
  float temperature;
  float top_p;
  float min_p;
  int32_t top_k;  // 0: all
  double u;       // the draw, in [0, 1)
};

// Filters mostly end among the few heaviest tokens, and sorting the vocabulary costs more than the rest of a
// draw. So only tokens within a few temperatures of the largest logit are sorted, then more, then all.
constexpr float kTails[] = {5.0f, 10.0f, INFINITY};

// Below it, a draw is the largest logit: quotients would leave the numbers that there are.
constexpr float kLeastTemperature = 1e-5f;

class RowSampler {
 public:
  // Logits that are not finite are never drawn; -1 where none is.
  int draw(const float* logits, int width, const Filter& f) {
    const int best = weigh(logits, width, f.temperature);
    if (best < 0 || !(f.temperature >= kLeastTemperature) || f.top_k == 1) return best;
    if (f.top_k == 0 && f.top_p >= 1.0f && f.min_p <= 0.0f) return invert_all(width, f.u);
    for (const float tail : kTails) {
      sort(width, tail);
      const int kept = keep(width, f, tail == INFINITY);
      if (kept > 0) return invert_sorted(kept, f.u);
    }
    return order_[0];
  }

 private:
  // weights_[i] = e^((logit - largest) / temperature), and their sum. Returns the place of the largest.
  int weigh(const float* logits, int width, float temperature) {
    weights_.resize(width + 16);
    f32x16 largest = set1(-INFINITY);
    for (int i = 0; i < width; i += 16) {
      const f32x16 x = only_finite(load_first(logits + i, std::min(16, width - i)));
      largest = max(largest, select(lanes(0, width - i), x, set1(-INFINITY)));
    }
    const float most = reduce_max(largest);
    if (!(most > -INFINITY)) return -1;
    const f32x16 top = set1(most), inverse = set1(1.0f / std::max(temperature, kLeastTemperature));
    total_ = 0;
    for (int i = 0; i < width; i += 16) {
      const f32x16 logit = only_finite(load_first(logits + i, std::min(16, width - i)));
      const f32x16 x = (logit - top) * inverse;
      // Banned tokens are -inf, which exp16 would make merely small, and 0 · inf is NaN, which is not less either.
      const f32x16 e = select(less(set1(-80.0f), x), exp16(x), zero());
      const f32x16 finite = select(less(set1(-INFINITY), logit), e, zero());
      const f32x16 inside = select(lanes(0, width - i), finite, zero());
      store(weights_.data() + i, inside);
      total_ += reduce_add(inside);
    }
    int best = 0;
    while (logits[best] != most) ++best;
    return best;
  }

  int invert_all(int width, double u) const {
    const double target = u * total_;
    double sum = 0;
    for (int i = 0; i < width; i += 16) {
      const double block = reduce_add(load(weights_.data() + i));
      if (sum + block > target) {
        for (int k = i; k < std::min(i + 16, width); ++k)
          if ((sum += weights_[k]) > target) return k;
      } else {
        sum += block;
      }
    }
    return int(std::max_element(weights_.begin(), weights_.begin() + width) - weights_.begin());
  }

  // The heaviest tokens first; of equals, the first.
  void sort(int width, float tail) {
    const f32x16 least = set1(tail == INFINITY ? -1.0f : std::exp(-tail));
    order_.clear();
    for (int i = 0; i < width; i += 16) {
      unsigned heavy = bits(less(least, load(weights_.data() + i)));
      if (width - i < 16) heavy &= (1u << (width - i)) - 1;
      for (; heavy != 0; heavy &= heavy - 1) order_.push_back(i + __builtin_ctz(heavy));
    }
    std::sort(order_.begin(), order_.end(),
              [this](int a, int b) { return weights_[a] != weights_[b] ? weights_[a] > weights_[b] : a < b; });
  }

  // How many of the sorted tokens pass the filters; 0 if the tokens left out might pass too.
  int keep(int width, const Filter& f, bool everything) const {
    const int sorted = int(order_.size());
    const bool bounded = f.top_k > 0 && f.top_k < width;
    if (!everything && bounded && f.top_k > sorted) return 0;
    const int most = bounded ? f.top_k : sorted;
    double total = total_;
    if (bounded) {
      total = 0;
      for (int i = 0; i < most; ++i) total += weights_[order_[i]];
    }
    const double least = double(f.min_p) * weights_[order_[0]];
    double before = 0;
    int kept = 0;
    for (; kept < most; ++kept) {
      const double w = weights_[order_[kept]];
      if (kept > 0 && (before >= double(f.top_p) * total || w < least)) return kept;
      before += w;
    }
    return everything || bounded ? kept : 0;
  }

  int invert_sorted(int kept, double u) const {
    double total = 0, sum = 0;
    for (int i = 0; i < kept; ++i) total += weights_[order_[i]];
    for (int i = 0; i < kept; ++i)
      if ((sum += weights_[order_[i]]) > u * total) return order_[i];
    return order_[kept - 1];
  }

  std::vector<float> weights_;
  std::vector<int> order_;
  double total_ = 0;
};

}  // namespace inferloom
