"""What was spoken is found: 200 queries in 24 languages, in a real PostgreSQL."""

import json

import pytest
from django.db import connection

from tests.support.factories import make_job, make_key, make_tenant, make_transcript
from tests.support.fake_backend import document
from transcripts.models import SearchEntry
from transcripts.search import backlog, normalization

pytestmark = pytest.mark.django_db

# Language, text, queries separated by " / ", each of which finds the text.
FOUND = [
    ("en", "she said “refund”—twice—Tom’s", "refund / twice / tom / tom's / Tom’s / \"refund twice\""),
    ("en", "call 555-123-4567 about CVE-2026-2332", "4567 / 555 123 4567 / 555-123-4567 / 5551234567 / 2332 / cve / CVE-2026-2332"),
    ("en", "write to support@example.com or www.example.com/help/refunds", "support / example.com / refunds / refund / support@example.com / www.example.com / help"),
    ("en", "the total is 1,234.56 dollars, or 1’000", "1234.56 / 1,234.56 / 1234 / 56 / dollar / 1000"),
    ("en", "don't send the e-mail to O'Brien", "dont / email / e-mail / mail / obrien / O’Brien"),
    ("en", "(refund)…[delay]/{voucher}*storm*~hail", "refund / delay / voucher / storm / hail"),
    ("en", "version 2.10.3 on 2026-01-31 at 12:30", "2.10.3 / 2026-01-31 / 20260131 / 12:30 / 1230 / 2026"),
    ("multi", "¿Dónde está «hola»? ¡Gracias! —nada—", "dónde / donde / hola / gracias / nada"),
    ("es", "la información del señor Muñoz, número uno", "información / informacion / munoz / Muñoz / numero / señor / senor"),
    ("es", "el niño comió piñas", "niño / nino / comió / comio / piña"),
    ("fr", "l’hôtel est fermé, d'accord", "hôtel / hotel / l'hôtel / lhotel / accord / fermé / ferme"),
    ("fr", "une façade à côté de la forêt où l'œuvre", "facade / façade / cote / forêt / foret / oeuvre / œuvre"),
    ("de", "„Rechnung“ ‚Mahnung‘ und »Straße«", "Rechnung / Mahnung / straße / strasse / STRASSE"),
    ("de", "die Pakete für Frau Müller-Lüdenscheidt", "paket / müller / muller / lüdenscheidt / Müller-Lüdenscheidt / pakete"),
    ("pt", "a ação não foi “rápida” — João", "acao / ação / rapida / joao / João"),
    ("it", "perché l’università è così grande?", "universita / università / grande"),
    ("nl", "de coöperatie ’s-Gravenhage heeft één zaak", "cooperatie / coöperatie / gravenhage / zaak"),
    ("pl", "Łódź i Gdańsk, „żółw” w Łodzi", "lodz / łódź / gdansk / Gdańsk / zolw / żółw / Lodzi"),
    ("cs", "příliš žluťoučký kůň", "prilis / příliš / zlutoucky / kun / kůň"),
    ("tr", "İstanbul ISPARTA DİYARBAKIR", "istanbul / İstanbul / ısparta / isparta / ISPARTA / diyarbakir / diyarbakır"),
    ("tr", "ışık söndü, çok güzel şey", "ışık / isik / guzel / güzel"),
    ("vi", "Cảm ơn, Đà Nẵng rất đẹp", "cam / cảm / da nang / Đà Nẵng / dep / đẹp"),
    ("sv", "smörgåsbord på Åland – räkor", "smorgasbord / smörgåsbord / aland / åland"),
    ("da", "rødgrød med fløde, æble", "rodgrod / rødgrød / flode / aeble / æble"),
    ("ru", "Возврат «денег» — ещё один отчёт", "возврат / ДЕНЕГ / отчет / отчёт"),
    ("uk", "Повернення коштів у Києві, п’ять", "коштів / києві / Повернення"),
    ("el", "Η επιστροφή «χρημάτων» στην Αθήνα", "επιστροφη / επιστροφή / Αθήνα / αθηνα / ΑΘΗΝΑ"),
    ("ar", "هل وصلت الرِّسالة؟ نعم، أحمد", "الرسالة / الرِّسالة / احمد / أحمد / وصلت"),
    ("ar", "رقم الهاتف ٠١٢٣-٤٥٦٧", "4567 / ٤٥٦٧ / 01234567 / 0123"),
    ("fa", "نامه‌ها رسید، می‌خواهم", "نامه‌ها / نامهها / رسید / میخواهم"),
    ("he", "הַחְזָר כספי – „שלום”", "החזר / כספי / שלום"),
    ("hi", "धनवापसी कब होगी? “नमस्ते”।", "धनवापसी / नमस्ते / होगी"),
    ("ko", "환불을 요청했습니다, 컴퓨터로부터", "환불 / 환불* / 환불을 / 컴퓨터 / 컴퓨터로부터"),
    ("ko", "고객센터에서 「배송」은 언제예요?", "고객센터 / 배송 / 언제 / 고객*"),
    ("zh", "我想要退款。订单号是12345！", "退款 / 想要 / 订单号 / 12345 / 款 / 我想要退款 / 订单"),
    ("zh", "請聯繫客服中心，謝謝", "客服 / 客服中心 / 謝謝 / 中心"),
    ("ja", "返金してください。東京に行きます", "返金 / 東京 / ください / 行きます / 東京に行 / 返 / す"),
    ("ja", "コンピューターのﾃﾞｰﾀと「メール」", "コンピューター / データ / ﾃﾞｰﾀ / メール / コンピュ"),
    ("th", "ขอเงินคืนครับ เงินด่วน", "เงินคืน / ขอเงิน / ครับ / เงินด่วน / คืน"),
    ("my", "ငွေပြန်အမ်းပါ", "ငွေပြန် / ပြန်အမ်း"),
    ("multi", "ＣＡＦÉ ﬁnance Ⅷ", "café / cafe / finance / viii"),
]  # fmt: skip
PAIRS = [
    (language, text, query.strip())
    for language, text, queries in FOUND
    for query in queries.split(" / ")
]
NOT_FOUND = [
    ("ja", "東京に行きます", "京東"),
    ("ja", "東京に行きます", '"東京 行きま"'),
    ("ko", "집에서 기다려요", "집*"),
    ("en", "call 555 about 4567", "5554567"),
    ("en", "the refund", '"refund delay"'),
    ("es", "está aquí", "hola"),
    ("zh", "我想要退款", "退还"),
]


@pytest.fixture
def tenant():
    return make_tenant()


@pytest.fixture
def key(tenant):
    return make_key(tenant)[1]


def say(tenant, text, language="en"):
    job = make_job(tenant, status="completed", options={"language": language})
    raw = json.dumps(document(text)).encode()
    make_transcript(job, raw, text=text, language="")
    return str(job.pk)


def search(client, key, query):
    answer = client.get(
        "/v1/transcripts", {"q": query}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def ids(client, key, query):
    return [hit["job_id"] for hit in search(client, key, query)]


def test_there_are_200_pairs_in_20_languages():
    assert len(PAIRS) >= 200
    assert len({language for language, _, _ in PAIRS}) >= 20


@pytest.mark.parametrize("number", range(len(FOUND)))
def test_it_is_found(client, tenant, key, number):
    language, text, queries = FOUND[number]
    job = say(tenant, text, language)
    other = say(tenant, "um um um", language)

    found = {query: ids(client, key, query) for query in queries.split(" / ")}

    assert found == {query: [job] for query in queries.split(" / ")}
    assert other not in str(found)


@pytest.mark.parametrize(("language", "text", "query"), NOT_FOUND)
def test_it_is_not_found(client, tenant, key, language, text, query):
    say(tenant, text, language)

    assert ids(client, key, query) == []


@pytest.mark.parametrize(
    ("query", "order"), [("cafe", ["cafe", "café"]), ("café", ["café", "cafe"])]
)
def test_the_exact_spelling_ranks_first(client, tenant, key, query, order):
    # The newer one would come first if both had the same rank.
    jobs = {
        word: say(tenant, f"the {word} is open", "multi") for word in reversed(order)
    }
    jobs |= {word: say(tenant, f"the {word} is open", "multi") for word in order[1:]}

    found = ids(client, key, query)

    assert found[0] == jobs[order[0]]
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("she said “refund”—twice—Tom’s", "twice", ["refund”—twice—Tom’s"]),
        ("un café noir", "cafe", ["café"]),
        ("call 555-123-4567 now", "4567", ["555-123-4567"]),
        ("私は東京に行きます", "東京", ["東京"]),
        ("환불을 요청", "환불", ["환불을"]),
    ],
)
def test_the_place_is_marked(client, tenant, key, text, query, marked):
    say(tenant, text, "multi")

    (hit,) = search(client, key, query)

    parts = hit["snippets"][0]["parts"]
    assert [part["text"] for part in parts if part["is_match"]] == marked


def test_stop_words_stay_out_of_a_query_with_accents(client, tenant, key):
    job = say(tenant, "il a été remboursé", "fr")

    assert ids(client, key, "été remboursé") == [job]
    answer = client.get(
        "/v1/transcripts", {"q": "été"}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.json()["code"] == "query_not_searchable"


OLDER = """
INSERT INTO transcripts_searchentry
  (transcript_id, tenant_id, created_at, confidence, config, search)
VALUES (%(transcript)s, %(tenant)s, now(), 0.9, %(config)s,
  to_tsvector(%(config)s::regconfig, %(text)s) || array_to_tsvector(%(facts)s))
"""


def write_as_older_code(tenant, text, prepared, config="simple"):
    """Store an entry as version 0.2 does: it knows no rule."""
    job = say(tenant, text, "multi")
    facts = [f"=t:{tenant.pk.hex}", "=m:async"]
    values = {"transcript": job, "tenant": tenant.pk, "config": config}
    SearchEntry.objects.filter(pk=job).delete()
    with connection.cursor() as cursor:
        cursor.execute(OLDER, values | {"text": prepared, "facts": facts})
    return job


def test_entries_of_older_code_are_found_and_rebuilt_beside_new_ones(
    client, tenant, key
):
    older = write_as_older_code(tenant, "東京 café refund", " 東  京  café refund")
    newer = say(tenant, "東京 café refund", "multi")

    for query in ("東京", "café", "refund"):
        assert set(ids(client, key, query)) == {older, newer}, query
    assert ids(client, key, "cafe") == [newer]  # by the new rules only

    assert backlog.index_unindexed(limit=10) == 1
    assert backlog.index_unindexed(limit=10) == 0
    assert set(ids(client, key, "cafe")) == {older, newer}
    rules = SearchEntry.objects.values_list("rule", flat=True)
    assert set(rules) == {normalization.RULE}


def test_entries_are_rebuilt_in_slices_and_the_newest_first(tenant, client, key):
    jobs = [write_as_older_code(tenant, "café", "café") for _ in range(3)]

    assert backlog.index_unindexed(limit=2) == 2

    rebuilt = SearchEntry.objects.filter(rule=normalization.RULE)
    assert {str(entry.pk) for entry in rebuilt} == set(jobs[1:])


def test_a_long_text_with_many_forms_fits_in_an_entry(tenant, client, key):
    words = [f"café-{number}-été" for number in range(9_000)]

    job = say(tenant, " ".join([*words, "Łódź"]), "multi")

    assert ids(client, key, "lodz") == [job]
    assert ids(client, key, '"cafe 17 ete"') == [job]
