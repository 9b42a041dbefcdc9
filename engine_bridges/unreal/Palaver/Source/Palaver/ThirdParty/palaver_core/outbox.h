// What has to be sent, and what of it the server has surely handled.
//
// The protocol has no receipts. But a server handles the messages of a connection in order, so a
// pong says that everything before its ping was handled, and that no error about it is to come. The
// outbox puts such a ping behind every batch and keeps what is not yet confirmed, to send it again
// after a cut: all messages may be repeated without harm.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bounds.h"
#include "messages.h"

namespace palaver {

/// One message on its way. Those that restore a reset session have numbers up to 0.
struct Request {
    std::int64_t number = 0;
    std::string frame;
    std::string turn;          ///< The turn it is about.
    bool starts_turn = false;  ///< Confirmed by `turn.accepted` instead of a pong.
    bool is_state = false;     ///< To be kept for a reset, once it is confirmed.

    std::string id() const { return "m" + std::to_string(number); }
};

class Outbox {
public:
    /// Messages after which a ping is put in between, however many are waiting.
    static constexpr int kBatch = 32;

    /// Queues a message. Returns false where it is too large or too much waits already; `reserved`
    /// ones, at most one for each turn, always find room.
    bool put(Draft draft, std::string_view turn = {}, bool starts_turn = false,
             bool is_state = false, bool reserved = false) {
        Request request{numbers_ + 1, {}, std::string(turn), starts_turn, is_state};
        draft.writer.text("id", request.id());
        request.frame = draft.finish();
        const bool full = waiting_.size() + sent_.size() >= kMaxWaiting ||
                          bytes_ + request.frame.size() > kMaxWaitingBytes;
        if (request.frame.size() > message_bytes || (full && !reserved)) {
            return false;
        }
        ++numbers_;
        bytes_ += request.frame.size();
        waiting_.push_back(std::move(request));
        return true;
    }

    /// Takes back the start of a turn that nobody waits for; returns whether it was still unsent.
    bool withdraw(std::string_view turn) {
        const bool unsent = erase(waiting_, turn);
        erase(sent_, turn);
        return unsent;
    }

    bool has_next() const {
        return since_ping_ > 0 || !restore_.empty() || (!waiting_.empty() && restoring_ == 0);
    }

    /// Returns the next frame to send, or nothing. It holds until the next call of the outbox.
    std::string_view next() {
        const bool restoring = !restore_.empty();
        std::deque<Request>& from = restoring ? restore_ : waiting_;
        if (since_ping_ < kBatch && (restoring || (!waiting_.empty() && restoring_ == 0))) {
            sent_.push_back(std::move(from.front()));
            from.pop_front();
            ++since_ping_;
            return sent_.back().frame;
        }
        return since_ping_ > 0 ? ping() : std::string_view();
    }

    /// Returns a ping that confirms everything sent before it.
    std::string_view ping() {
        ++nonces_;
        since_ping_ = 0;
        if (barriers_.size() >= kMaxWaiting) {
            barriers_.pop_front();
        }
        barriers_.push_back({nonces_, sent_.empty() ? INT64_MIN : highest()});
        Draft draft("ping");
        draft.writer.text("nonce", "b" + std::to_string(nonces_));
        ping_ = draft.finish();
        return ping_;
    }

    /// Confirms everything that was sent before a ping. Calls `settle(request)` for each.
    template <class Settle>
    void pong(std::string_view nonce, Settle settle) {
        std::int64_t upto = INT64_MIN;
        bool known = false;
        for (const Barrier& barrier : barriers_) {
            if ("b" + std::to_string(barrier.nonce) == nonce) {
                known = true;
                upto = barrier.number;
            }
        }
        while (known && !barriers_.empty()) {
            const bool last = "b" + std::to_string(barriers_.front().nonce) == nonce;
            barriers_.pop_front();
            if (last) {
                break;
            }
        }
        for (std::size_t at = 0; known && at < sent_.size();) {
            if (sent_[at].number <= upto && !sent_[at].starts_turn) {
                settle(remove(at));
            } else {
                ++at;
            }
        }
    }

    /// Confirms the start of a turn.
    void accepted(std::string_view turn) { erase(sent_, turn); }

    /// Takes out the request that an error is about; returns whether there is one.
    bool refused(std::string_view re, std::string_view turn, Request& found) {
        for (std::size_t at = 0; at < sent_.size(); ++at) {
            const Request& one = sent_[at];
            const bool about = re.empty() ? one.starts_turn && !turn.empty() && one.turn == turn
                                          : one.id() == re;
            if (about) {
                found = remove(at);
                return true;
            }
        }
        return false;
    }

    /// Sends again what may have been lost: a new connection goes on with the session.
    void reconnected() {
        std::sort(sent_.begin(), sent_.end(),
                  [](const Request& a, const Request& b) { return a.number < b.number; });
        for (auto one = sent_.rbegin(); one != sent_.rend(); ++one) {
            (one->number <= 0 ? restore_ : waiting_).push_front(std::move(*one));
        }
        sent_.clear();
        barriers_.clear();
        since_ping_ = 0;
    }

    /// Begins a new session: first its state, then what was not yet confirmed.
    /// @param state  What the server was told before.
    /// @param lost   Says whether a turn ended with the old session.
    template <class Lost>
    void reset(std::vector<Draft> state, Lost lost) {
        reconnected();
        restore_.clear();
        for (std::size_t at = 0; at < waiting_.size();) {
            const Request& one = waiting_[at];
            const bool drop = !one.turn.empty() && !one.starts_turn && lost(one.turn);
            if (drop) {
                bytes_ -= one.frame.size();
                waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(at));
            } else {
                ++at;
            }
        }
        restoring_ = state.size();
        std::int64_t number = 1 - static_cast<std::int64_t>(state.size());
        for (Draft& draft : state) {
            Request request{number++, {}, {}, false, false};
            draft.writer.text("id", request.id());
            request.frame = draft.finish();
            restore_.push_back(std::move(request));
        }
    }

    void clear() { *this = Outbox(); }
    std::size_t size() const { return waiting_.size() + sent_.size(); }

    std::size_t message_bytes = kMessageBytes;

private:
    struct Barrier {
        std::int64_t nonce, number;
    };

    std::int64_t highest() const {
        std::int64_t most = INT64_MIN;
        for (const Request& one : sent_) {
            most = (std::max)(most, one.number);
        }
        return most;
    }

    Request remove(std::size_t at) {
        Request request = std::move(sent_[at]);
        sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(at));
        if (request.number > 0) {
            bytes_ -= request.frame.size();
        } else if (restoring_ > 0) {
            --restoring_;
        }
        return request;
    }

    template <class List>
    bool erase(List& list, std::string_view turn) {
        for (auto one = list.begin(); one != list.end(); ++one) {
            if (one->starts_turn && one->turn == turn) {
                bytes_ -= one->frame.size();
                list.erase(one);
                return true;
            }
        }
        return false;
    }

    std::deque<Request> restore_;
    std::deque<Request> waiting_;
    std::vector<Request> sent_;
    std::deque<Barrier> barriers_;
    std::string ping_;
    std::int64_t numbers_ = 0;
    std::int64_t nonces_ = 0;
    std::size_t bytes_ = 0;
    std::size_t restoring_ = 0;
    int since_ping_ = 0;
};

}  // namespace palaver
