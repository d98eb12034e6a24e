"""How the catalogue spells the names of places.

The geodata was typed by many carriers over twenty years: it abbreviates, repeats the province after the city, and knows
few Russian names. This module turns such a description into one clean name, and finds the Russian name of a city from
three places in turn: the geodata itself, CLDR's exemplar cities of time zones, and the short table below.
"""

import re
import unicodedata
from functools import cache

from babel import Locale
from babel.core import get_global

# Area codes whose description is wrong, a list of a dozen towns, or names a province where everybody says the city.
PRINCIPAL_CITIES: dict[tuple[str, str], tuple[str, str]] = {
    ("AE", "2"): ("Abu Dhabi", "Абу-Даби"),
    ("CA", "437"): ("Toronto", "Торонто"),
    ("CA", "647"): ("Toronto", "Торонто"),
    ("CD", "1"): ("Kinshasa", "Киншаса"),
    ("CN", "24"): ("Shenyang", "Шэньян"),
    ("CN", "28"): ("Chengdu", "Чэнду"),
    ("CN", "29"): ("Xi'an", "Сиань"),
    ("CU", "7"): ("Havana", "Гавана"),
    ("EG", "2"): ("Cairo", "Каир"),
    ("EG", "3"): ("Alexandria", "Александрия"),
    ("GR", "21"): ("Athens", "Афины"),
    ("HN", "2213"): ("Tegucigalpa", "Тегусигальпа"),
    ("ID", "21"): ("Jakarta", "Джакарта"),
    ("IL", "4"): ("Haifa", "Хайфа"),
    ("IR", "21"): ("Tehran", "Тегеран"),
    ("IS", "5"): ("Reykjavík", "Рейкьявик"),
    ("MX", "55"): ("Mexico City", "Мехико"),
    ("PE", "1"): ("Lima", "Лима"),
    ("PY", "21"): ("Asunción", "Асунсьон"),
    ("PY", "61"): ("Ciudad del Este", "Сьюдад-дель-Эсте"),
    ("PY", "71"): ("Encarnación", "Энкарнасьон"),
    ("RO", "21"): ("Bucharest", "Бухарест"),
    ("RO", "31"): ("Bucharest", "Бухарест"),
    ("RU", "365"): ("Simferopol", "Симферополь"),
    ("RU", "496"): ("Moscow Oblast", "Московская область"),
    ("RU", "498"): ("Moscow Oblast", "Московская область"),
    ("RU", "499"): ("Moscow", "Москва"),
    ("RU", "812"): ("Saint Petersburg", "Санкт-Петербург"),
    ("SA", "11"): ("Riyadh", "Эр-Рияд"),
    ("SA", "12"): ("Jeddah", "Джидда"),
    ("SY", "11"): ("Damascus", "Дамаск"),
    ("TH", "2"): ("Bangkok", "Бангкок"),
    ("TR", "222"): ("Eskisehir", "Эскишехир"),
    ("UA", "44"): ("Kyiv", "Киев"),
    ("US", "202"): ("Washington", "Вашингтон"),
    ("US", "771"): ("Washington", "Вашингтон"),
    ("VE", "212"): ("Caracas", "Каракас"),
    ("VN", "24"): ("Hanoi", "Ханой"),
    ("VN", "28"): ("Ho Chi Minh City", "Хошимин"),
    ("ZA", "12"): ("Pretoria", "Претория"),
}

# Well-known cities the geodata is silent about: country, area code, English, Russian.
SUPPLEMENT: tuple[tuple[str, str, str, str], ...] = (
    ("BO", "2", "La Paz", "Ла-Пас"),
    ("DO", "809", "Santo Domingo", "Санто-Доминго"),
    ("IQ", "1", "Baghdad", "Багдад"),
    ("JM", "876", "Kingston", "Кингстон"),
    ("KH", "23", "Phnom Penh", "Пномпень"),
    ("LA", "21", "Vientiane", "Вьентьян"),
    ("NP", "1", "Kathmandu", "Катманду"),
    ("PH", "2", "Manila", "Манила"),
    ("TM", "12", "Ashgabat", "Ашхабад"),
    ("UZ", "66", "Samarkand", "Самарканд"),
    ("UZ", "71", "Tashkent", "Ташкент"),
)

_RUSSIAN_CITIES = """
AU: Canberra=Канберра, Gold Coast=Голд-Кост, Newcastle=Ньюкасл
AT: Graz=Грац, Salzburg=Зальцбург, Innsbruck=Инсбрук, Linz=Линц
AZ: Ganja=Гянджа, Sumgayit=Сумгаит
BE: Antwerp=Антверпен, Ghent=Гент, Liège=Льеж, Bruges=Брюгге
BG: Plovdiv=Пловдив, Varna=Варна, Burgas=Бургас
BR: Rio de Janeiro=Рио-де-Жанейро, Brasília=Бразилиа, Salvador=Салвадор, Curitiba=Куритиба, Porto Alegre=Порту-Алегри
CA: Montreal=Монреаль, Ottawa=Оттава, Calgary=Калгари, Quebec=Квебек
CH: Geneva=Женева, Bern=Берн, Basel=Базель, Lausanne=Лозанна
CN: Beijing=Пекин, Guangzhou=Гуанчжоу, Shenzhen=Шэньчжэнь, Chengdu=Чэнду, Tianjin=Тяньцзинь, Chongqing=Чунцин
CO: Medellín=Медельин, Cali=Кали
CZ: Brno=Брно
DE: Munich=Мюнхен, Hamburg=Гамбург, Cologne=Кёльн, Frankfurt am Main=Франкфурт-на-Майне, Stuttgart=Штутгарт, Dresden=Дрезден
DE: Leipzig=Лейпциг, Düsseldorf=Дюссельдорф, Hannover=Ганновер, Bremen=Бремен, Nuremberg=Нюрнберг, Bonn=Бонн
ES: Barcelona=Барселона, Valencia=Валенсия, Seville=Севилья, Malaga=Малага, Zaragoza=Сарагоса
FR: Marseille=Марсель, Lyon=Лион, Nice=Ницца, Toulouse=Тулуза, Bordeaux=Бордо, Strasbourg=Страсбург, Lille=Лилль
GB: Manchester=Манчестер, Birmingham=Бирмингем, Liverpool=Ливерпуль, Leeds=Лидс, Edinburgh=Эдинбург, Glasgow=Глазго
GB: Bristol=Бристоль, Cardiff=Кардифф, Sheffield=Шеффилд, Oxford=Оксфорд, Cambridge=Кембридж, Belfast=Белфаст
GE: Batumi=Батуми, Kutaisi=Кутаиси
IN: New Delhi=Нью-Дели, Mumbai=Мумбаи, Bangalore=Бангалор, Chennai=Ченнаи, Kolkata=Калькутта, Hyderabad=Хайдарабад
IE: Cork=Корк
IL: Tel Aviv=Тель-Авив
IT: Milan=Милан, Naples=Неаполь, Turin=Турин, Florence=Флоренция, Venice=Венеция, Bologna=Болонья, Genoa=Генуя
JP: Osaka=Осака, Kyoto=Киото, Yokohama=Иокогама, Sapporo=Саппоро, Nagoya=Нагоя, Hiroshima=Хиросима, Fukuoka=Фукуока
KG: Osh=Ош
KR: Busan=Пусан
LT: Kaunas=Каунас, Klaipėda=Клайпеда
MM: Yangon=Янгон
MX: Guadalajara=Гвадалахара
NG: Abuja=Абуджа
NL: Rotterdam=Роттердам, Den Haag=Гаага, The Hague=Гаага, Utrecht=Утрехт
NO: Bergen=Берген
NZ: Wellington=Веллингтон, Christchurch=Крайстчерч
PL: Kraków=Краков, Gdańsk=Гданьск, Wrocław=Вроцлав, Poznań=Познань, Łódź=Лодзь
PT: Porto=Порту
RU: Chita=Чита, Perm=Пермь, Ekaterinburg=Екатеринбург, Tyumen=Тюмень, Surgut=Сургут, Chelyabinsk=Челябинск
RU: Kurgan=Курган, Orenburg=Оренбург, Kemerovo=Кемерово, Kursk=Курск, Belgorod=Белгород, Voronezh=Воронеж
RU: Lipetsk=Липецк, Tambov=Тамбов, Smolensk=Смоленск, Tver=Тверь, Bryansk=Брянск, Kaluga=Калуга, Yaroslavl=Ярославль
RU: Orel=Орёл, Tula=Тула, Ryazan=Рязань, Vladimir=Владимир, Kostroma=Кострома
SE: Gothenburg=Гётеборг, Malmö=Мальмё
TR: Istanbul (Europe)=Стамбул (Европа), Istanbul (Anatolia)=Стамбул (Азия), Ankara=Анкара, Izmir=Измир, Antalya=Анталья
UA: Odesa=Одесса, Kharkiv=Харьков, Lviv=Львов, Dnipro=Днепр
US: San Francisco=Сан-Франциско, Houston=Хьюстон, Boston=Бостон, Seattle=Сиэтл, Miami=Майами, Dallas=Даллас
US: Washington=Вашингтон, Atlanta=Атланта, Las Vegas=Лас-Вегас, Philadelphia=Филадельфия, San Diego=Сан-Диего
US: Brooklyn=Бруклин, Jersey City=Джерси-Сити, Indianapolis=Индианаполис, Louisville=Луисвилл
ZA: Cape Town=Кейптаун, Durban=Дурбан
"""

_ABBREVIATIONS = {
    "Bch": "Beach", "Ctr": "Center", "Ft": "Fort", "Hse": "House", "Hts": "Heights", "Jct": "Junction",
    "Mt": "Mount", "Mtn": "Mountain", "Pk": "Park", "Spg": "Spring", "Spgs": "Springs", "Twp": "Township",
}  # fmt: skip

# Countries whose descriptions read "city, province" (or "city - state"): the province is dropped from the name.
_PROVINCE_AFTER_COMMA = frozenset({
    "AM", "AR", "AU", "AZ", "BR", "BY", "CL", "CN", "CO", "ET", "IN", "JP", "KG", "KZ", "LK", "MN", "MX", "MZ", "SZ",
    "UA", "VU",
})  # fmt: skip

# Some area codes serve a dozen towns and the geodata lists them all.
_PLACES_MAX = 3

# What is no part of a name: carriers' remarks before and after it.
_PREFIXES = re.compile(r"^Rdsi ")
_SUFFIXES = re.compile(r" (Local|[Pp]rovince|city|W100|\([A-Z]{2,3}\d?\)|\(Pri\d\))$")


def folded(name: str) -> str:
    """The name without accents, case or punctuation, to compare spellings of different sources."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in plain.casefold() if letter.isalnum())


def clean_english(country: str, description: str) -> str:
    """One tidy English name from a description of the geodata; "" if nothing is left."""
    name = " ".join(description.replace("’", "'").split())
    if country in _PROVINCE_AFTER_COMMA:
        name = name.split(", ")[0].split(" - ")[0]
    if country in ("US", "CA"):
        # A district comes before its city ("South 7th Street, Minneapolis"); buyers know the city.
        words = name.rsplit(", ", 1)[-1].split(" ")
        name = " ".join(_ABBREVIATIONS.get(word, word) for word in words)
    name = _SUFFIXES.sub("", _PREFIXES.sub("", name))
    places = [place.strip(" -,") for place in name.split("/")]
    name = "/".join([place for place in places if place][:_PLACES_MAX])
    return name[:1].upper() + name[1:] if name.islower() else name


def clean_russian(description: str) -> str:
    """One tidy Russian name from a description of the geodata; "" if nothing is left."""
    name = " ".join(description.replace("\u0301", "").split()).split(", ")[0]
    name = re.sub(r"^г\. ", "", name)
    return re.sub(r"обл\b\.?", "область", name).replace("р-н", "район").strip(" -/,")


def russian_city(country: str, name_en: str) -> str | None:
    """The Russian name of a well-known city, None for the many others."""
    return _russian_cities().get((country, folded(name_en)))


@cache
def _russian_cities() -> dict[tuple[str, str], str]:
    """(country, folded English name) -> Russian name, the hand-written table over CLDR's."""
    cities = _zone_cities()
    for line in _RUSSIAN_CITIES.strip().splitlines():
        country, _, pairs = line.partition(": ")
        for pair in pairs.split(", "):
            english, _, russian = pair.partition("=")
            cities[country, folded(english)] = russian
    return cities


def _zone_cities() -> dict[tuple[str, str], str]:
    """The cities after which CLDR names time zones, under the country each zone belongs to."""
    territories = get_global("zone_territories")
    english, russian = Locale("en").time_zones, Locale("ru").time_zones
    cities: dict[tuple[str, str], str] = {}
    for zone, names in russian.items():
        # A comma means "town, state" and a lower-case letter "isle of": neither is the plain name of a city.
        name_ru = names.get("city", "")
        country = territories.get(zone)
        if not country or "," in name_ru or not name_ru[:1].isupper():
            continue
        default = zone.rsplit("/", 1)[-1].replace("_", " ")
        cities[country, folded(english.get(zone, {}).get("city", default))] = name_ru
    return cities
