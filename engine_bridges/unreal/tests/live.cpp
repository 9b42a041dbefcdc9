// A game on libwebsockets, the library that Unreal uses: talks to a real server.
//
//     live HOST PORT      commands as JSON lines on standard input, events on standard output
//
// The first line is `session.start`. Ends at the end of its input, or when the session is over and
// the command `quit` comes.

#include <fcntl.h>
#include <libwebsockets.h>
#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>

#include "commands.h"

namespace {

palaver::Millis monotonic() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<palaver::Millis>(time.tv_sec) * 1'000 + time.tv_nsec / 1'000'000;
}

/// One connection after the other; what an older one still reports is thrown away.
class Socket : public palaver::Wire {
public:
    Socket(const char* host, int port) : host_(host), port_(port) {
        static const lws_protocols kProtocols[] = {
            {palaver::kSubprotocol, &Socket::callback, 0, 65'536, 0, nullptr, 0},
            {nullptr, nullptr, 0, 0, 0, nullptr, 0},
        };
        lws_set_log_level(0, nullptr);
        lws_context_creation_info info{};
        info.port = CONTEXT_PORT_NO_LISTEN;
        info.protocols = kProtocols;
        info.user = this;
        context_ = lws_create_context(&info);
    }
    ~Socket() override { lws_context_destroy(context_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    void dial() override {
        queue_.clear();
        frame_.clear();
        code_ = 1006;
        lws_client_connect_info info{};
        info.context = context_;
        info.address = host_;
        info.port = port_;
        info.path = "/v1";
        info.host = info.address;
        info.protocol = palaver::kSubprotocol;
        info.pwsi = &wsi_;
        if (lws_client_connect_via_info(&info) == nullptr) {
            wsi_ = nullptr;
            failed_ = true;  // Told at the next step, not from within the session's own call.
        }
    }
    void send(std::string_view frame) override {
        if (wsi_ != nullptr) {
            queue_.emplace_back(frame);
            lws_callback_on_writable(wsi_);
        }
    }
    void hang_up(int) override {
        lws* old = wsi_;
        wsi_ = nullptr;
        // What was said just before, such as `session.end`, still goes out.
        if (old != nullptr && queue_.empty()) {
            lws_set_timeout(old, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
        } else if (old != nullptr) {
            last_ = old;
            lws_callback_on_writable(old);
        }
    }

    /// Lets the library work for a moment, without waiting.
    void step() {
        if (failed_) {
            failed_ = false;
            session->closed(monotonic(), 1006, "cannot connect");
        }
        lws_service(context_, -1);
    }
    bool is_leaving() const { return last_ != nullptr; }

    palaver::Session* session = nullptr;

private:
    static int callback(lws* wsi, lws_callback_reasons reason, void*, void* in, size_t size) {
        auto* self = static_cast<Socket*>(lws_context_user(lws_get_context(wsi)));
        return self->happened(wsi, reason, static_cast<const char*>(in), size);
    }

    int happened(lws* wsi, lws_callback_reasons reason, const char* in, size_t size) {
        if (wsi == last_) {
            return farewell(wsi, reason);
        }
        if (wsi != wsi_ || session == nullptr) {
            return 0;
        }
        switch (reason) {
            case LWS_CALLBACK_CLIENT_ESTABLISHED: session->opened(monotonic()); break;
            case LWS_CALLBACK_CLIENT_RECEIVE:
                if (frame_.add({in, size}, lws_is_final_fragment(wsi) != 0 &&
                                               lws_remaining_packet_payload(wsi) == 0)) {
                    session->received(monotonic(), frame_.text());
                }
                break;
            case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
                if (size >= 2) {
                    code_ = static_cast<unsigned char>(in[0]) * 256 +
                            static_cast<unsigned char>(in[1]);
                }
                break;
            case LWS_CALLBACK_CLIENT_WRITEABLE: return write(wsi);
            case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
            case LWS_CALLBACK_CLIENT_CLOSED:
                wsi_ = nullptr;
                session->closed(monotonic(), code_, in != nullptr ? "cannot connect" : "");
                break;
            default: break;
        }
        return 0;
    }

    int write(lws* wsi) {
        if (queue_.empty()) {
            return 0;
        }
        std::string padded(LWS_PRE, '\0');
        padded += queue_.front();
        queue_.pop_front();
        const size_t size = padded.size() - LWS_PRE;
        auto* bytes = reinterpret_cast<unsigned char*>(&padded[LWS_PRE]);
        if (lws_write(wsi, bytes, size, LWS_WRITE_TEXT) < static_cast<int>(size)) {
            return -1;
        }
        if (!queue_.empty()) {
            lws_callback_on_writable(wsi);
        }
        return 0;
    }

    int farewell(lws* wsi, lws_callback_reasons reason) {
        if (reason == LWS_CALLBACK_CLIENT_WRITEABLE) {
            if (queue_.empty()) {
                lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, nullptr, 0);
                return -1;
            }
            const int result = write(wsi);
            lws_callback_on_writable(wsi);
            return result;
        }
        if (reason == LWS_CALLBACK_CLIENT_CLOSED ||
            reason == LWS_CALLBACK_CLIENT_CONNECTION_ERROR) {
            last_ = nullptr;
        }
        return 0;
    }

    const char* host_;
    int port_;
    lws_context* context_ = nullptr;
    lws* wsi_ = nullptr;
    lws* last_ = nullptr;
    palaver::Frame frame_;
    std::deque<std::string> queue_;
    int code_ = 1006;
    bool failed_ = false;
};

/// Lines of standard input, without waiting longer than a few milliseconds.
class Input {
public:
    Input() { fcntl(0, F_SETFL, O_NONBLOCK); }
    bool next(std::string& line, int wait_ms) {
        pollfd input{0, POLLIN, 0};
        if (buffer_.find('\n') == std::string::npos && poll(&input, 1, wait_ms) > 0) {
            char bytes[4096];
            const ssize_t got = read(0, bytes, sizeof bytes);
            ended = got == 0;
            buffer_.append(bytes, got > 0 ? static_cast<size_t>(got) : 0);
        }
        const size_t end = buffer_.find('\n');
        if (end == std::string::npos) {
            return false;
        }
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
    }
    bool ended = false;

private:
    std::string buffer_;
};

}  // namespace

int main(int argc, char** argv) {
    Input input;
    std::string line;
    palaver::Document command;
    while (!input.ended && !input.next(line, 1'000)) {
    }
    if (argc != 3 || !palaver::read_json(line, command)) {
        std::fprintf(stderr, "usage: live HOST PORT, and `session.start` on standard input\n");
        return 2;
    }
    Socket socket(argv[1], std::atoi(argv[2]));
    tests::Console sink;
    const auto seed = static_cast<std::uint64_t>(getpid());
    palaver::Session session(socket, sink, tests::start_of(command.root()), seed);
    socket.session = &session;
    session.start(monotonic());
    bool leaving = false;
    const auto obey = [&] {
        if (palaver::read_json(line, command) && !tests::obey(session, command.root())) {
            sink.on_error("refused", line);
        }
    };
    while (!leaving || socket.is_leaving()) {
        if (!leaving && input.next(line, 5)) {
            obey();
        }
        if (!leaving && input.ended) {
            session.close();
            leaving = true;
        }
        session.tick(monotonic());
        socket.step();
    }
    return 0;
}
