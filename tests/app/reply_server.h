// A server of somebody's own, in Python, on a free port of this machine.
#pragma once

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/subprocess.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {

// Answers each JSON that is posted to it with what the function answer(path, asked) of `python` makes of it.
class ReplyServer {
 public:
  ReplyServer(const Workspace& workspace, const std::string& python) {
    write_plain(workspace / "server.py", python + kServe);
    server_ = Subprocess::start({.command = {"python3", "server.py"},
                                 .working_directory = workspace / "",
                                 .output = workspace / "server.log"});
    for (int i = 0; i < 1000 && !std::filesystem::exists(workspace / "port"); ++i) server_->wait(10);
    std::string port;
    std::ifstream(workspace / "port") >> port;
    url = "http://127.0.0.1:" + port;
  }

  std::string url;

 private:
  static constexpr const char* kServe = R"(
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(self.path, asked)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open("port.new", "w") as file: file.write(str(server.server_address[1]))
os.rename("port.new", "port")
server.serve_forever()
)";

  std::optional<Subprocess> server_;
};

}  // namespace sluice::app
