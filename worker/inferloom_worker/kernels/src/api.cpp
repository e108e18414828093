// The C face of the kernels, for ctypes. Sizes are checked by the caller, library.py.
#include "decoder.h"
#include "encoder.h"

using namespace inferloom;

namespace {

Matrix* matrix(Decoder* d, int layer, int which) {
  if (layer < 0) return which == 0 ? &d->embedding : &d->head;
  return d->layers[layer].matrices()[which];
}

std::vector<float>* vector(Decoder* d, int layer, int which) {
  if (layer < 0) return &d->norm;
  return d->layers[layer].vectors()[which];
}

}  // namespace

extern "C" {

// layers is [shape->layers].
Decoder* il_create(const Shape* shape, const LayerShape* layers, const Rope* ropes, int rope_count, int threads) {
  return new Decoder(*shape, layers, ropes, rope_count, threads);
}

void il_destroy(Decoder* d) { delete d; }

int il_allocate(Decoder* d, int blocks) { return d->allocate(blocks); }

void il_set_vector(Decoder* d, int layer, int which, const float* values, int count) {
  vector(d, layer, which)->assign(values, values + count);
}

// Whether the products of this library compute matrices of the kind.
int il_holds(int kind) { return kind != kQ12 || kHoldsQ12; }

// Layer -1 holds the embedding and the head.
Matrix* il_decoder_matrix(Decoder* d, int layer, int which) { return matrix(d, layer, which); }

Matrix* il_encoder_matrix(Encoder* e, int layer, int which) { return e->layers[layer].matrices()[which]; }

// Makes an empty matrix; il_fill_groups writes its rows, or il_fill_bf16 or il_fill_q12 for these two kinds.
void il_make_matrix(Matrix* m, int kind, int rows, int cols) { m->allocate(static_cast<Kind>(kind), rows, cols); }

// Writes rows first … first + count - 1. q is [count, cols]; scales is [count, groups] (kQ8F: [count, 2 ·
// groups]); offsets is [count, groups], and ignored by the 8-bit kinds.
void il_fill_groups(Matrix* m, int first, int count, const int8_t* q, const float* scales, const float* offsets) {
  const int groups = m->groups(), scales_per_group = m->kind == kQ8F ? 2 : 1;
  for (int r = 0; r < count; ++r)
    for (int g = 0; g < groups; ++g) {
      const size_t at = size_t(r) * groups + g;
      put_group(*m, first + r, g, q + at * kGroup, scales + at * scales_per_group, offsets ? offsets[at] : 0.0f);
    }
}

// The same for kQ12; scales is [count, groups].
void il_fill_q12(Matrix* m, int first, int count, const int16_t* q, const float* scales) {
  const int groups = m->groups();
  for (int r = 0; r < count; ++r)
    for (int g = 0; g < groups; ++g) {
      const size_t at = size_t(r) * groups + g;
      put_group(*m, first + r, g, q + at * kGroup, scales + at, 0.0f);
    }
}

// The same for bfloat16; values is [count, cols].
void il_fill_bf16(Matrix* m, int first, int count, const uint16_t* values) {
  for (int r = 0; r < count; ++r) put_bf16(*m, first + r, values + size_t(r) * m->cols);
}

// An adapter without changes.
Adapter* il_adapter_create(Decoder* d) { return new Adapter(d->shape.layers); }

void il_adapter_destroy(Adapter* a) { delete a; }

// Sets the first matrix of a change, values [rank, inputs].
void il_adapter_change(Adapter* a, int layer, int projection, int rank, int inputs, const float* values) {
  Change& change = a->layers[layer][projection];
  change.rank = rank, change.inputs = inputs;
  change.a.assign(values, values + size_t(rank) * inputs);
}

// Adds a part to it, values [outputs / 16, rank, 16].
void il_adapter_part(Adapter* a, int layer, int projection, int first, int outputs, int low, int rank,
                     const float* values) {
  a->layers[layer][projection].parts.push_back(
      {first, outputs, low, rank, std::vector<float>(values, values + size_t(outputs) * rank)});
}

void il_forward(Decoder* d, const Step* step, float* logits) { d->forward(*step, logits); }

void il_hidden(Decoder* d, const Step* step, float* states) { d->hidden(*step, states); }

void il_argmax(Decoder* d, const float* logits, int rows, int stride, int width, int32_t* places) {
  d->argmax(logits, rows, stride, width, places);
}

void il_draw(Decoder* d, const float* logits, int rows, int stride, int width, const Filter* filters,
             int32_t* tokens) {
  d->draw(logits, rows, stride, width, filters, tokens);
}

long long il_weight_bytes(Decoder* d) {
  long long total = 0;
  const auto add = [&](const Matrix& m) { total += m.data ? (long long)m.bytes() : 0; };
  for (auto& w : d->layers)
    for (const Matrix* m : w.matrices()) add(*m);
  add(d->embedding), add(d->head);
  return total;
}

Encoder* il_encoder_create(const EncoderShape* shape, int threads) { return new Encoder(*shape, threads); }

void il_encoder_destroy(Encoder* e) { delete e; }

void il_encoder_vector(Encoder* e, int layer, int which, const float* values, long long count) {
  std::vector<float>* outer[] = {&e->words, &e->places, &e->norm, &e->norm_bias};
  (layer < 0 ? outer[which] : e->layers[layer].vectors()[which])->assign(values, values + count);
}

void il_encoder_forward(Encoder* e, int texts, const int32_t* tokens, const int32_t* counts, float* out) {
  e->forward(texts, tokens, counts, out);
}

}  // extern "C"
