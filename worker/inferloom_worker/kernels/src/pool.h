// A fixed team of threads that run one loop at a time.
//
// A decoder step is a few hundred short loops, so joining and waiting must cost far less than a system call:
// threads spin, then yield, and sleep only between steps. Iterations are handed out one by one, and a loop
// ends when its iterations have ended, not when every thread has seen it: a thread that the system took off
// its core delays only the iteration it was in.
#pragma once

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace inferloom {

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads < 1 ? 1 : threads) {
    for (int i = 1; i < threads_; ++i) team_.emplace_back([this, i] { work(i); });
  }

  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closing_.store(true);
      awake_.store(true);
    }
    wake_.notify_all();
    for (auto& thread : team_) thread.join();
  }

  int threads() const { return threads_; }

  // Between begin and end the team spins for work; outside it sleeps.
  void begin() {
    if (threads_ == 1) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      awake_.store(true);
    }
    wake_.notify_all();
  }

  void end() { awake_.store(false); }

  // Calls body(index, thread) for every index in [0, count), and returns when all calls have returned.
  template <class Body>
  void loop(int count, Body&& body) {
    if (threads_ == 1 || count == 1) {
      for (int i = 0; i < count; ++i) body(i, 0);
      return;
    }
    // Whoever draws a ticket of this loop holds up its end, so the body outlives every use.
    body_ = [](const void* b, int index, int thread) { (*static_cast<const std::decay_t<Body>*>(b))(index, thread); };
    context_ = &body;
    done_.store(0, std::memory_order_relaxed);
    ticket_.store(uint64_t(count) << 32, std::memory_order_release);
    drain(0);
    for (unsigned spins = 0; done_.load(std::memory_order_acquire) != count; ++spins) pause(spins);
  }

  // Calls body(begin, end) over chunks of [0, count), about `per_thread` for each thread, whole multiples of `unit`.
  template <class Body>
  void chunks(int count, int unit, int per_thread, Body&& body) {
    const int wanted = std::max(1, count / (threads_ * per_thread));
    const int size = (wanted + unit - 1) / unit * unit;
    loop((count + size - 1) / size, [&](int c, int) { body(c * size, std::min(count, (c + 1) * size)); });
  }

  // Calls body(row) for every row.
  template <class Body>
  void rows(int count, Body&& body) {
    chunks(count, 1, 4, [&](int begin, int end) {
      for (int r = begin; r < end; ++r) body(r);
    });
  }

 private:
  static void pause(unsigned spins) {
    if (spins < 2000) {
      _mm_pause();
    } else {
      sched_yield();
    }
  }

  // Runs iterations of the present loop until none is left; whether there was any.
  bool drain(int thread) {
    bool any = false;
    for (;;) {
      const uint64_t seen = ticket_.load(std::memory_order_acquire);
      if (uint32_t(seen) >= seen >> 32) return any;
      const uint64_t mine = ticket_.fetch_add(1, std::memory_order_acq_rel);
      if (uint32_t(mine) >= mine >> 32) return any;
      body_(context_, int(uint32_t(mine)), thread);
      done_.fetch_add(1, std::memory_order_release);
      any = true;
    }
  }

  void work(int thread) {
    for (unsigned spins = 0;; ++spins) {
      if (drain(thread)) spins = 0;
      if (closing_.load(std::memory_order_relaxed)) return;
      if (!awake_.load(std::memory_order_relaxed)) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [this] { return awake_.load(); });
      }
      pause(spins);
    }
  }

  const int threads_;
  std::vector<std::thread> team_;
  void (*body_)(const void*, int, int) = nullptr;
  const void* context_ = nullptr;
  alignas(64) std::atomic<uint64_t> ticket_{0};  // iterations in the upper half, the next one in the lower
  alignas(64) std::atomic<int> done_{0};
  alignas(64) std::atomic<bool> awake_{false};
  std::atomic<bool> closing_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace inferloom
