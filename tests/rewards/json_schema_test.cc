#include "rewards/internal/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

const char* const kAge =
    R"({"type": "object", "required": ["age"], "properties": {"age": {"type": "integer", "minimum": 0}}})";

RewardOutcome outcome_of(const std::string& schema, const std::string& completion,
                         double format_score = 0.0) {
  const Json options = {{"schema", schema}, {"format_score", format_score}};
  return score(*make_reward(spec("json_schema", options.dump()), {}), {}, completion);
}

TEST(JsonSchema, KeepsToItsTableOfCases) {
  EXPECT_EQ(outcome_of(kAge, R"({"age": 7})").score, 1.0);
  EXPECT_EQ(outcome_of(kAge, "Here:\n```json\n{\"age\": 7}\n```").score, 1.0);
  EXPECT_EQ(outcome_of(kAge, "```{\"age\": 7}```").score, 1.0);
  EXPECT_EQ(outcome_of(kAge, "```\n[]\n```\nNo:\n```\n{\"age\": 7}\n```\nDone.").score, 1.0);
  EXPECT_EQ(outcome_of(kAge, R"(Hm. <answer>{"age": 7, "x": null}</answer>)").score, 1.0);
  for (const char* other : {R"({"age": "7"})", R"({"age": -1})", "{}", "[7]", "7", "null"})
    EXPECT_EQ(outcome_of(kAge, other, 0.1).score, 0.1) << other;
  for (const char* none : {R"({"age": 7} is it)", R"({"age": 7, })", R"({"age": 7, "age": 8})", "",
                           "{'age': 7}", "NaN", R"({"age": 1e999})"}) {
    EXPECT_EQ(outcome_of(kAge, none, 0.1).score, 0.0) << none;
  }
}

TEST(JsonSchema, NamesItsParts) {
  using Parts = std::map<std::string, double>;
  EXPECT_EQ(outcome_of(kAge, R"({"age": 7})").parts, (Parts{{"json", 1}, {"valid", 1}}));
  EXPECT_EQ(outcome_of(kAge, "{}").parts, (Parts{{"json", 1}, {"valid", 0}}));
  EXPECT_EQ(outcome_of(kAge, "{").parts, (Parts{{"json", 0}, {"valid", 0}}));
}

TEST(JsonSchema, ReadsItsSchemaFromAFile) {
  const TempFolder folder;
  write_file_atomically(folder / "age.json", kAge);
  const Json options = {{"path", (folder.path() / "age.json").string()}};
  EXPECT_EQ(score(*make_reward(spec("json_schema", options.dump()), {}), {}, R"({"age": 7})").score, 1.0);
}

// A schema, values that keep to it, values that do not.
TEST(JsonSchema, UnderstandsTheWordsOfValidation) {
  struct Row {
    const char* schema;
    std::vector<const char*> right, wrong;
  };
  const std::vector<Row> table = {
      {"true", {"1", "null"}, {}},
      {"false", {}, {"1", "null"}},
      {R"({"type": "integer"})", {"1", "1.0", "-0"}, {"1.5", "\"1\"", "true"}},
      {R"({"type": ["string", "null"]})", {"\"\"", "null"}, {"0", "[]"}},
      {R"({"enum": [1, "a", {"x": 1, "y": 2}]})",
       {"1.0", "\"a\"", R"({"y": 2, "x": 1})"},
       {"2", "true", R"({"x": 1})"}},
      {R"({"const": [false]})", {"[false]"}, {"[0]", "[]"}},
      {R"({"exclusiveMinimum": 0, "maximum": 3, "multipleOf": 0.5})",
       {"0.5", "3", "\"x\""},
       {"0", "3.5", "0.7"}},
      {R"({"minimum": 9007199254740993})", {"9007199254740993"}, {"9007199254740992"}},
      {R"({"minimum": 18446744073709551615})",
       {"18446744073709551615", "1e300"},
       {"-1", "9223372036854775807"}},
      {R"({"minLength": 2, "maxLength": 3, "pattern": "^[a-z\u00e9]+$"})",
       {"\"\u00e9\u00e9\u00e9\"", "1"},
       {"\"a\"", "\"abcd\"", "\"A1\""}},
      {R"({"prefixItems": [{"type": "integer"}], "items": {"type": "string"}, "minItems": 1})",
       {"[1]", "[1, \"a\"]"},
       {"[]", "[\"a\"]", "[1, 2]"}},
      {R"({"uniqueItems": true})",
       {"[1, \"1\", true]"},
       {"[1, 1.0]", R"([{"a": 1, "b": 2}, {"b": 2, "a": 1}])"}},
      {R"({"contains": {"const": 5}, "maxContains": 2})", {"[5]", "[1, 5, 5]"}, {"[]", "[1]", "[5, 5, 5]"}},
      {R"({"contains": {"const": 5}, "minContains": 0})", {"[]"}, {}},
      {R"({"properties": {"a": {"type": "integer"}}, "patternProperties": {"^n_": {"type": "null"}}, "additionalProperties": false})",
       {"{}", R"({"a": 1, "n_x": null})"},
       {R"({"b": 1})", R"({"n_x": 1})"}},
      {R"({"propertyNames": {"maxLength": 2}, "maxProperties": 1, "minProperties": 1})",
       {R"({"ab": 0})"},
       {R"({"abc": 0})", "{}", R"({"a": 0, "b": 0})"}},
      {R"({"dependentRequired": {"a": ["b"]}})",
       {"{}", R"({"b": 1})", R"({"a": 1, "b": 1})"},
       {R"({"a": 1})"}},
      {R"({"allOf": [{"minimum": 1}, {"maximum": 2}]})", {"1", "2"}, {"0", "3"}},
      {R"({"anyOf": [{"minimum": 5}, {"maximum": 2}]})", {"1", "6"}, {"3"}},
      {R"({"oneOf": [{"minimum": 1}, {"maximum": 2}]})", {"0", "3"}, {"1", "2"}},
      {R"({"not": {"type": "string"}})", {"1"}, {"\"a\""}},
      {R"({"if": {"minimum": 10}, "then": {"multipleOf": 10}, "else": {"multipleOf": 2}})",
       {"20", "4"},
       {"12", "5"}},
      {R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}, "additionalProperties": false}}})",
       {R"({"next": {"next": {}}})"},
       {R"({"next": {"next": 1}})", R"({"x": {}})"}},
      {R"({"title": "a", "description": "b", "format": "email", "default": 7})", {"\"no address\""}, {}},
  };
  for (const auto& row : table) {
    for (const char* value : row.right)
      EXPECT_EQ(outcome_of(row.schema, value).score, 1.0) << value << " for " << row.schema;
    for (const char* value : row.wrong)
      EXPECT_EQ(outcome_of(row.schema, value).score, 0.0) << value << " for " << row.schema;
  }
}

TEST(JsonSchema, SaysWhatIsWrongAndWhere) {
  const internal::JsonSchema schema(
      Json::parse(R"({"properties": {"items": {"items": {"type": "string"}}}})"), "test");
  EXPECT_EQ(schema.problem(Json::parse(R"({"items": ["a", 3]})")), "/items/1: 3 is not of type \"string\"");
  EXPECT_EQ(schema.problem(Json::parse(R"({"items": []})")), std::nullopt);
}

// What stands there was not read as a schema otherwise, so that an expression in it was never compiled.
TEST(JsonSchema, ChecksASchemaWhereverAReferenceLeads) {
  EXPECT_EQ(outcome_of(R"({"$ref": "#/default", "default": {"pattern": "a"}})", "\"b\"").score, 0.0);
  EXPECT_EQ(outcome_of(R"({"$ref": "#/default", "default": {"pattern": "a"}})", "\"a\"").score, 1.0);
  const auto message = [](const std::string& schema) {
    return message_of<UsageError>([&] { outcome_of(schema, "1"); });
  };
  EXPECT_THAT(message(R"({"$ref": "#/enum/0", "enum": [{"type": 5}]})"),
              HasSubstr("the schema's /enum/0/type is"));
  EXPECT_THAT(message(R"({"$ref": "#/default", "default": {"$ref": "#/const"}, "const": {"required": 1}})"),
              HasSubstr("the schema's /const/required is"));
}

TEST(JsonSchema, RefusesASchemaThatIsNone) {
  const auto message = [](const std::string& schema) {
    const Json options = {{"schema", schema}};
    return message_of<UsageError>([&] { make_reward(spec("json_schema", options.dump()), {}); });
  };
  EXPECT_THAT(message(R"({"propertis": {}})"),
              HasSubstr("recipe.toml:7:3: reward \"json_schema\": the schema's /propertis is no keyword that "
                        "is understood; did you mean \"properties\"?"));
  EXPECT_THAT(message(R"({"items": {"type": "int"}})"), HasSubstr("/items/type is null, boolean, integer"));
  EXPECT_THAT(message(R"({"required": "age"})"),
              HasSubstr("/required is a list of different names, saw string"));
  EXPECT_THAT(message(R"({"minLength": -1})"), HasSubstr("a whole number from 0"));
  EXPECT_THAT(message(R"({"multipleOf": 0})"), HasSubstr("a number above 0"));
  EXPECT_THAT(message(R"({"pattern": "("})"), HasSubstr("/pattern: the regular expression"));
  EXPECT_THAT(message(R"({"$ref": "#/$defs/x"})"), HasSubstr("the schema has nothing at \"#/$defs/x\""));
  EXPECT_THAT(message(R"({"$ref": "http://example.com/x"})"), HasSubstr("a reference stays in the document"));
  EXPECT_THAT(message("[]"), HasSubstr("a schema is an object, true or false"));
  EXPECT_THAT(message("{"), HasSubstr("`schema`: not JSON"));
  EXPECT_THROW(make_reward(spec("json_schema"), {}), UsageError);
  EXPECT_THROW(make_reward(spec("json_schema", R"({"schema": "{}", "path": "x"})"), {}), UsageError);
  EXPECT_THROW(make_reward(spec("json_schema", R"({"schema": "{}", "format_score": 1})"), {}), UsageError);
}

TEST(JsonSchema, GivesUpOnWhatTakesTooLong) {
  std::string many = "[0";
  for (int i = 1; i < 3000; ++i) many += "," + std::to_string(i);
  EXPECT_THAT(outcome_of(R"({"uniqueItems": true})", many + "]").unscored_reason,
              HasSubstr("more than 1000000 steps"));
  EXPECT_THAT(outcome_of(R"({"$ref": "#"})", "1").unscored_reason, HasSubstr("go round in a circle"));
  EXPECT_THAT(outcome_of(R"({"pattern": "(a+)+b"})", "\"" + std::string(40, 'a') + "c b\"").unscored_reason,
              HasSubstr("match limit exceeded"));
  EXPECT_EQ(outcome_of("true", std::string(65'536, '[')).score, 0.0);
}

}  // namespace
}  // namespace sluice::rewards
