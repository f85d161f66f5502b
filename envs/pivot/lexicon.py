"""The words of the synthetic French, English and German: what each noun, adjective, verb and preposition is in all three.

Real words in small paradigms, lower case. What is simplified is said here: every French adjective follows its noun and
nothing is elided, German has no weak nouns, places take the dative.

English words come with synonyms, the first of which is the usual one. Where English has one word for two
(``AMBIGUOUS``), a faithful English sentence does not say which German word is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

ANIMATE, THING, PLACE = "animate", "thing", "place"


@dataclass(frozen=True)
class Noun:
    """``french`` (singular, plural), gender; ``english``: (singular, plural) of each synonym; German likewise."""

    french: tuple[str, str]
    french_gender: str
    english: tuple[tuple[str, str], ...]
    german: tuple[str, str]
    german_gender: str
    kind: str


@dataclass(frozen=True)
class Adjective:
    """``french``: masculine and feminine singular; the plurals add s. ``german``: the stem."""

    french: tuple[str, str]
    english: tuple[str, ...]
    german: str


@dataclass(frozen=True)
class Verb:
    """Forms are present singular, present plural, and past (English) or participle (French, German)."""

    french: tuple[str, str, str]
    english: tuple[tuple[str, str, str], ...]
    german: tuple[str, str, str]
    transitive: bool
    auxiliary: tuple[str, str] = ("hat", "haben")


@dataclass(frozen=True)
class Preposition:
    """A place's preposition; the German one takes the dative."""

    french: str
    english: tuple[str, ...]
    german: str


def _noun(french: str, english: str, german: str, kind: str) -> Noun:
    """ "homme hommes m", "man men, guy guys", "mann männer m"."""
    singular, plural, gender = french.split()
    words = tuple((pair.split()[0], pair.split()[1]) for pair in english.split(","))
    german_singular, german_plural, german_gender = german.split()
    return Noun((singular, plural), gender, words, (german_singular, german_plural), german_gender, kind)


def _verb(french: str, english: str, german: str, transitive: bool, auxiliary: str = "hat haben") -> Verb:
    f, g, a = french.split(), german.split(), auxiliary.split()
    words = tuple((form.split()[0], form.split()[1], form.split()[2]) for form in english.split(","))
    return Verb((f[0], f[1], f[2]), words, (g[0], g[1], g[2]), transitive, (a[0], a[1]))


NOUNS = (
    _noun("homme hommes m", "man men", "mann männer m", ANIMATE),
    _noun("femme femmes f", "woman women, lady ladies", "frau frauen f", ANIMATE),
    _noun("enfant enfants m", "child children, kid kids", "kind kinder n", ANIMATE),
    _noun("fille filles f", "girl girls", "mädchen mädchen n", ANIMATE),
    _noun("chien chiens m", "dog dogs, hound hounds", "hund hunde m", ANIMATE),
    _noun("chat chats m", "cat cats", "katze katzen f", ANIMATE),
    _noun("cheval chevaux m", "horse horses", "pferd pferde n", ANIMATE),
    _noun("mouton moutons m", "sheep sheep", "schaf schafe n", ANIMATE),
    _noun("joueur joueurs m", "player players", "spieler spieler m", ANIMATE),
    _noun("avocat avocats m", "lawyer lawyers, attorney attorneys", "anwalt anwälte m", ANIMATE),
    _noun("avocat avocats m", "avocado avocados", "avocado avocados f", THING),
    _noun("poisson poissons m", "fish fish", "fisch fische m", THING),
    _noun("vélo vélos m", "bicycle bicycles, bike bikes", "fahrrad fahrräder n", THING),
    _noun("voiture voitures f", "car cars, automobile automobiles", "auto autos n", THING),
    _noun("balle balles f", "ball balls", "ball bälle m", THING),
    _noun("livre livres m", "book books", "buch bücher n", THING),
    _noun("chapeau chapeaux m", "hat hats", "hut hüte m", THING),
    _noun("chaise chaises f", "chair chairs, seat seats", "stuhl stühle m", THING),
    _noun("maison maisons f", "house houses, home homes", "haus häuser n", PLACE),
    _noun("rue rues f", "street streets, road roads", "straße straßen f", PLACE),
    _noun("plage plages f", "beach beaches", "strand strände m", PLACE),
    _noun("jardin jardins m", "garden gardens, yard yards", "garten gärten m", PLACE),
    _noun("banque banques f", "bank banks", "bank banken f", PLACE),
    _noun("rive rives f", "bank banks, shore shores", "ufer ufer n", PLACE),
)

ADJECTIVES = (
    Adjective(("rouge", "rouge"), ("red",), "rot"),
    Adjective(("noir", "noire"), ("black",), "schwarz"),
    Adjective(("blanc", "blanche"), ("white",), "weiß"),
    Adjective(("grand", "grande"), ("big", "large"), "groß"),
    Adjective(("petit", "petite"), ("small", "little"), "klein"),
    Adjective(("âgé", "âgée"), ("old", "elderly"), "alt"),
    Adjective(("jeune", "jeune"), ("young",), "jung"),
    Adjective(("rapide", "rapide"), ("fast", "quick"), "schnell"),
    Adjective(("triste", "triste"), ("sad", "unhappy"), "traurig"),
    Adjective(("mouillé", "mouillée"), ("wet", "soaked"), "nass"),
)

VERBS = (
    _verb("voit voient vu", "sees see saw", "sieht sehen gesehen", True),
    _verb("porte portent porté", "carries carry carried, bears bear bore", "trägt tragen getragen", True),
    _verb(
        "pousse poussent poussé",
        "pushes push pushed, shoves shove shoved",
        "schiebt schieben geschoben",
        True,
    ),
    _verb("tire tirent tiré", "pulls pull pulled, drags drag dragged", "zieht ziehen gezogen", True),
    _verb("cherche cherchent cherché", "seeks seek sought", "sucht suchen gesucht", True),
    _verb("trouve trouvent trouvé", "finds find found", "findet finden gefunden", True),
    _verb(
        "frappe frappent frappé", "hits hit hit, strikes strike struck", "schlägt schlagen geschlagen", True
    ),
    _verb("pose posent posé", "puts put put, places place placed", "legt legen gelegt", True),
    _verb("dort dorment dormi", "sleeps sleep slept, naps nap napped", "schläft schlafen geschlafen", False),
    _verb("joue jouent joué", "plays play played", "spielt spielen gespielt", False),
    _verb(
        "saute sautent sauté",
        "jumps jump jumped, leaps leap leapt",
        "springt springen gesprungen",
        False,
        "ist sind",
    ),
    _verb("court courent couru", "runs run ran", "läuft laufen gelaufen", False, "ist sind"),
    _verb("chante chantent chanté", "sings sing sang", "singt singen gesungen", False),
    _verb("attend attendent attendu", "waits wait waited", "wartet warten gewartet", False),
)

PREPOSITIONS = (
    Preposition("dans", ("in",), "in"),
    Preposition("sur", ("on", "upon"), "auf"),
    Preposition("devant", ("before",), "vor"),
    Preposition("derrière", ("behind",), "hinter"),
    Preposition("sous", ("under", "beneath"), "unter"),
)

# What English cannot tell apart without leaving its usual words: German needs the distinction, French makes it.
AMBIGUOUS = {
    "bank": "banque or rive; shore would say it",
    "sheep": "one or several, after the",
    "fish": "one or several, after the",
    "hit": "present or past, after a plural",
    "put": "present or past, after a plural",
}
