#include "model/families/family.h"

#include <array>

#include "base/error.h"
#include "base/quoted_name.h"

namespace sluice::model {
namespace {

constexpr std::array<const Family*, 12> kFamilies{&kLlama,      &kQwen2,      &kQwen3,   &kMistral,
                                                  &kGemma2,     &kGemma3,     &kMixtral, &kQwen3Moe,
                                                  &kDeepseekV2, &kDeepseekV3, &kPhi3,    &kGpt2};

std::string known_types() {
  std::string list;
  for (const Family* family : kFamilies) {
    list += (list.empty() ? "" : ", ") + std::string(family->model_type);
  }
  return list;
}

}  // namespace

std::span<const Family* const> families() { return kFamilies; }

bool is_classifier(const Family& family, const ConfigReader& json) {
  return json.has("architectures") && json.json().at("architectures") == Json::array({family.classifier});
}

const Family& find_family(const ConfigReader& json) {
  const auto type = json_member<std::string>(json.json(), "model_type", json.where());
  for (const Family* family : kFamilies) {
    if (family->model_type != type) continue;
    if (!json.has("architectures")) return *family;
    const auto names = json_member<std::vector<std::string>>(json.json(), "architectures", json.where());
    const bool known = names.size() == 1 && names.front() == family->architecture;
    require<DataError>(known || is_classifier(*family, json), json.where(), ": architectures is ",
                       json.json().at("architectures").dump(), "; of model_type ", quoted_name(type),
                       " only ", std::string(family->architecture), " and ", std::string(family->classifier),
                       " are supported");
    return *family;
  }
  fail<DataError>(json.where(), ": model_type ", quoted_name(type),
                  " is not supported; those that are: ", known_types());
}

}  // namespace sluice::model
