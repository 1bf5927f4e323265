from spacy.language import Language
@Language.factory("transformer_ner")
def make_transformer_ner(nlp, name): return lambda d: d
