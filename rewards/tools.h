// Tools that a policy may call while it writes (docs/tools.md).
//
// What a call asks for is the policy's: hostile. A tool answers with text, also where it fails: then the text
// says why, for the policy to read.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace sluice::rewards {

struct ToolAnswer {
  std::string text;
  bool failed = false;
};

class Tool {
 public:
  virtual ~Tool() = default;
  // By which the policy calls it.
  virtual const std::string& name() const = 0;
  // As chat templates take it: {"type": "function", "function": {"name", "description", "parameters"}}.
  virtual Json description() const = 0;
  // From several threads at once; ends within the tool's own deadline. The same arguments give the same
  // answer, as far as a run is to be repeatable.
  virtual ToolAnswer call(const Json& arguments) = 0;
  // From another thread: calls under way are not wanted any more, nor any that would come.
  virtual void interrupt() {}
};

// One entry of a recipe's `tools`.
struct ToolSpec {
  std::string use;
  std::string name;  // by which it is called; defaults to `use`
  Json options = Json::object();
  std::string where;  // file:line:column in the recipe, for messages
};

// What make_tool() knows.
struct ToolEntry {
  std::string name;
  std::string summary;
  std::vector<std::string> options;  // the keys it understands
};
const std::vector<ToolEntry>& tool_entries();

// Throws UsageError for an unknown name (with the nearest one) or an unknown or wrong option,
// EnvironmentError for what this machine does not give.
std::unique_ptr<Tool> make_tool(const ToolSpec& spec);

// The tools of a stage. answer() may be called from several threads at once.
class Toolbox {
 public:
  Toolbox() = default;  // of none
  // Throws as make_tool() does, and UsageError where two share a name.
  explicit Toolbox(const std::vector<ToolSpec>& specs);
  explicit Toolbox(std::vector<std::unique_ptr<Tool>> tools) : tools_(std::move(tools)) {}

  bool empty() const { return tools_.empty(); }
  // To what stands between the marks of a call. Never throws for what the policy wrote or a tool did.
  ToolAnswer answer(std::string_view call) const;
  // From another thread: what is under way fails soon, and whatever is asked from now on.
  void interrupt() const;
  // An array of all tools' own; null without any.
  Json descriptions() const;

 private:
  std::vector<std::unique_ptr<Tool>> tools_;
};

}  // namespace sluice::rewards
