#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

double score_of(const std::string& language, const std::string& completion) {
  return *score(*make_reward(spec("language", R"({"language": ")" + language + "\"}"), {}), {}, completion)
              .score;
}

TEST(Language, KeepsToItsTableOfCases) {
  EXPECT_EQ(score_of("en", "So the answer is that it was 5."), 1.0);
  EXPECT_NEAR(score_of("en", "So \u7b54\u6848 is 5, and that is it."), 15.0 / 17.0, 1e-12);
  EXPECT_LT(score_of("en", "Die Antwort ist nicht das, und es war so."), 0.3);
  EXPECT_EQ(score_of("en", "42"), 0.0);
  EXPECT_EQ(score_of("en", ""), 0.0);
}

// The first article of the Universal Declaration of Human Rights.
TEST(Language, TellsNeighboursApart) {
  const std::map<std::string, std::string> texts = {
      {"en",
       "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
       "conscience and should act towards one another in a spirit of brotherhood."},
      {"de",
       "Alle Menschen sind frei und gleich an W\u00fcrde und Rechten geboren. Sie sind mit Vernunft und "
       "Gewissen begabt und sollen einander im Geist der Br\u00fcderlichkeit begegnen."},
      {"fr",
       "Tous les \u00eatres humains naissent libres et \u00e9gaux en dignit\u00e9 et en droits. Ils sont "
       "dou\u00e9s de raison et de conscience et doivent agir les uns envers les autres dans un esprit de "
       "fraternit\u00e9."},
      {"es",
       "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como est\u00e1n de "
       "raz\u00f3n y conciencia, deben comportarse fraternalmente los unos con los otros."},
      {"it",
       "Tutti gli esseri umani nascono liberi ed eguali in dignit\u00e0 e diritti. Essi sono dotati di "
       "ragione e di coscienza e devono agire gli uni verso gli altri in spirito di fratellanza."},
      {"pt",
       "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de raz\u00e3o e de "
       "consci\u00eancia, devem agir uns para com os outros em esp\u00edrito de fraternidade."},
      {"nl",
       "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand "
       "en geweten, en behoren zich jegens elkander in een geest van broederschap te gedragen."},
      {"ru",
       "\u0412\u0441\u0435 \u043b\u044e\u0434\u0438 \u0440\u043e\u0436\u0434\u0430\u044e\u0442\u0441\u044f "
       "\u0441\u0432\u043e\u0431\u043e\u0434\u043d\u044b\u043c\u0438"},
      {"zh",
       "\u4eba\u4eba\u751f\u800c\u81ea\u7531\uff0c\u5728\u5c0a\u4e25\u548c\u6743\u5229\u4e0a\u4e00\u5f8b"
       "\u5e73\u7b49\u3002"},
      {"ja",
       "\u3059\u3079\u3066\u306e\u4eba\u9593\u306f\u3001\u751f\u307e\u308c\u306a\u304c\u3089\u306b\u3057"
       "\u3066\u81ea\u7531\u3067\u3042\u308b"},
      {"ko", "\ubaa8\ub4e0 \uc778\uac04\uc740 \ud0dc\uc5b4\ub0a0 \ub54c\ubd80\ud130"},
  };
  for (const auto& [language, text] : texts) {
    const double own = score_of(language, text);
    EXPECT_GE(own, 0.6) << language;
    for (const auto& [other, ignored] : texts) {
      if (other == language || (language == "zh" && other == "ja")) continue;
      EXPECT_LT(score_of(other, text), own - 0.2) << language << " as " << other;
    }
  }
}

TEST(Language, LeavesCodeAndMathematicsOut) {
  EXPECT_EQ(score_of("zh", "\u7b54\u6848\u662f $x = \\frac{1}{2}$\u3002```print(x)```"), 1.0);
  EXPECT_EQ(score_of("zh", "\u7b54\u6848 \\(abc\\) \\[def\\] $$ghi$$"), 1.0);
  EXPECT_LT(score_of("zh", "\u7b54\u6848 $abc"), 1.0);  // never closed
}

TEST(Language, StandsBytesThatAreNoText) {
  const auto outcome = score(*make_reward(spec("language", R"({"language": "en"})"), {}), {},
                             "\xff\xfe\xc0\x80\xf5 abc \xe4\xbd");
  EXPECT_GE(*outcome.score, 0.0);
  EXPECT_LE(*outcome.score, 1.0);
}

TEST(Language, NamesThoseItKnows) {
  EXPECT_THAT(message_of<UsageError>([] { make_reward(spec("language"), {}); }),
              testing::HasSubstr("`language` is one of en de fr"));
  EXPECT_THROW(make_reward(spec("language", R"({"language": "English"})"), {}), UsageError);
}

}  // namespace
}  // namespace sluice::rewards
