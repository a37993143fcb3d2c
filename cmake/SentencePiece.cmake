# SentencePiece 0.2.1 as built by scripts/bootstrap: static, with its own absl and protobuf-lite inside.
set(SLUICE_SENTENCEPIECE ${SLUICE_CACHE}/sentencepiece-0.2.1 CACHE PATH "Prefix of SentencePiece 0.2.1")
if(NOT EXISTS ${SLUICE_SENTENCEPIECE}/lib/libsentencepiece.a)
  message(FATAL_ERROR "No SentencePiece in ${SLUICE_SENTENCEPIECE}. Run scripts/bootstrap.")
endif()

add_library(sentencepiece INTERFACE)
target_include_directories(sentencepiece SYSTEM INTERFACE ${SLUICE_SENTENCEPIECE}/include)
target_link_libraries(sentencepiece INTERFACE
  ${SLUICE_SENTENCEPIECE}/lib/libsentencepiece_train.a ${SLUICE_SENTENCEPIECE}/lib/libsentencepiece.a)
