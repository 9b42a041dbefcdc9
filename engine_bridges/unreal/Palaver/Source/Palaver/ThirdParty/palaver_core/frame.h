// Puts messages together that a socket delivers in pieces, and lets none grow beyond the bound.
#pragma once

#include <string>
#include <string_view>

#include "bounds.h"

namespace palaver {

class Frame {
public:
    /// Adds a piece. Returns true when the message is whole; `text` holds it until the next call.
    bool add(std::string_view piece, bool last) {
        if (whole_) {
            text_.clear();
            too_large_ = whole_ = false;
        }
        too_large_ = too_large_ || text_.size() + piece.size() > kMaxMessageBytes;
        if (too_large_) {
            text_.clear();
        } else {
            text_.append(piece);
        }
        whole_ = last;
        return last && !too_large_;
    }

    /// A new connection begins.
    void clear() {
        text_.clear();
        too_large_ = whole_ = false;
    }

    const std::string& text() const { return text_; }

private:
    std::string text_;
    bool too_large_ = false;
    bool whole_ = false;
};

}  // namespace palaver
