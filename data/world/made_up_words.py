"""Made-up words of the syllables of many languages."""

from __future__ import annotations

import random
from typing import NamedTuple


class Sounds(NamedTuple):
    """The syllables of a language: how they begin, their vowels, how they close, and how a word may end."""

    onsets: tuple[str, ...]
    vowels: tuple[str, ...]
    codas: tuple[str, ...]
    endings: tuple[str, ...]


def _sounds(onsets: str, vowels: str, codas: str, endings: str) -> Sounds:
    parts = (tuple("" if part == "-" else part for part in text.split()) for text in (onsets, vowels, codas, endings))
    return Sounds(*parts)


SOUNDS_OF_LANGUAGES = (
    _sounds("b bl br c ch d f g gr h j k l m n p r s sh st t th tr w", "a e i o u ea oo ai", "- n r l s t ck ll m p",
            "y er le en ard ton wick ley son ie ow"),
    _sounds("b z k l m n p r s t v d zb br kr sl sv st vl zd cz w", "a e i o u y ie", "- - n k v r s sz cz m",
            "ek slav mir ka na ov ska ica iew ina usz wa a"),
    _sounds("k s t n h m y r w g z d b sh ch ts j ky", "a i u e o ai", "- - - n", "ko ki ro ta mi ka shi ya to ha"),
    _sounds("b d f g k l m n s t w y kw mb nd ng nk th z r j - -", "a e i o u", "- - - n m",
            "a e i o u we nde si kazi le ba"),
    _sounds("b br d f fr g h k kl l m n p r s sch st t tr w v", "a e i o u ei au ie", "- n r l s ch ng rg ld tz nn",
            "e en er heim bert hild mann ina gard dorf burg"),
    _sounds("b c d f g l m n p r s t v qu ch gi br", "a e i o u ia io ue", "- - n r l s",
            "o a ino ella etta ano ia is ez io"),
    _sounds("b d f h j k l m n r s sh t y z kh gh q - -", "a i u aa ee ou", "- - r l m n d f s",
            "id ah im een a i ir oud iya an ar"),
    _sounds("c g l m n r s t br d f ll mh sh", "a e i o u ae ao io ei", "- n r l d th s",
            "an wyn in ach och eth een agh ane yn"),
    _sounds("zh x q l m n w j h sh f d t g y ch", "a i u ang en ao ei iu ong in", "-", "ing an ao u ei ong i uan"),
    _sounds("k l m n p h w t v f - -", "a e i o u ai au", "-", "a o ani ilo oa ehu eka ui"),
    _sounds("dh bh k kh g j t d n p m r l v s sh pr y", "a i u aa e o", "- - n r l sh m",
            "a i esh an endra ika ita pur vati it"),
    _sounds("x c tl p ch t m n q z l hu y ts", "a e i o u ua", "- - l n c", "tl li co pec tla cali in atl oc a"),
    _sounds("b d f g h j k l m n r s st sk t v hj kj bj sv gr fr", "a e i o u y oe aa ei", "- n r l s g k rn ld",
            "sen rik gard dis borg mund ulf a e stad vik la ar"),
    _sounds("k l m n p r s t v h j y - -", "a e i o u aa ii uu ai oi ae yy", "- - n s l r k t",
            "nen la inen ja o a kka sto ri lli mo"),
    _sounds("b c d g h l m n ng nh ph qu t th tr v x kh", "a e i o u ia uo ay ie", "- n ng nh c t m p",
            "anh oc ien uyen am ong i"),
    _sounds("b ch d g h j k l m n p s sh t w y gw hw ky", "a e i o u eo eu ae yeo oo", "- - n ng k l m",
            "joon min hee ok ul eun su won hyun a"),
    _sounds("b d g k l m n p r s t w ad ol ab k os - -", "a e i o u", "- - n m",
            "ade ola wale emi ike uche bayo tunde i"),
    _sounds("b k d g h l m n p s t y sh z c f - -", "a e i o u ay", "- - n r l k m z",
            "an han lar soy a ek gul tay oglu kaya"),
    _sounds("k g d t p m n l r s f x z h ps st th", "a e i o y ia eo", "- - n s r l", "os is a as ou ides aki ios eia"),
    _sounds("b c d f g h l m n p r s t v w j ch br gr fl squ kn wh", "a e i o u oo ee ay", "- b p t ck g mp nk ff zz",
            "ster kin bles y le er o worth by ham ford s"),
)  # fmt: skip
SOUNDS_OF_PETS = _sounds("b p m t d k n f w z j l sn sc bl fl g r ch", "a e i o u oo ee ou",
                         "- - b f g p t zz ff mp nk", "y ie o les kins bo zy pop ster a u sy")  # fmt: skip


def made_up_word(rng: random.Random, sounds: Sounds | None = None) -> str:
    """A word of one to four syllables in lower case, of some language or of the one with these sounds."""
    of = sounds or rng.choice(SOUNDS_OF_LANGUAGES)

    def syllable() -> str:
        return rng.choice(of.onsets) + rng.choice(of.vowels) + rng.choice(of.codas)

    word = "".join(syllable() for _ in range(rng.choices((1, 2, 3), (45, 42, 13))[0]))
    if rng.random() < 0.07:  # as in Wagga Wagga: a model that looks for what came last time loses its place in these
        word += syllable() * 2
    if rng.random() < 0.6:
        word += rng.choice(of.endings)
    return word if 3 <= len(word) <= 14 else made_up_word(rng, sounds)
