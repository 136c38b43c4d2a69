"""The sales lines behind the sales tree, sales per day and customer, and the lists of customers, items and reps."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest

from mv_pipeline.catalog.relations import Catalog
from mv_pipeline.demo import sample
from mv_pipeline.settings import Settings
from mv_pipeline_tests.sql.history import (
    Plant,
    as_day,
    as_number,
    assert_same,
    new_plant,
    read_lines,
    receive_line,
)

DETAIL, CUSTOMER_SALES = "mart.v_sales_tree_detail_base", "mart.v_customer_sales_daily"
FINAL, FLASH = "shogun_final_receive", "shogun_flash_receive"
DAY = date(2025, 12, 1)


def sales_line(slip: int = 1, kg: object = 100, yen: object = 1000, **cells: object) -> dict[str, str]:
    """A line of waste that came in on DAY."""
    return receive_line(**{"day": DAY, "slip": slip, "kg": kg, "yen": yen, "category_cd": 1, **cells})


class TestSalesLines:
    def test_a_line_shows_what_the_list_says_under_the_names_of_the_sales_tree(self, plant: Plant) -> None:
        line = sales_line(
            501,
            "1,234.5",
            "67,890",
            sales_staff_cd="011",
            sales_staff_name="見本 太郎",
            client_cd="000123",
            client_name="架空建設",
            item_cd="0201",
            item_name="鉄スクラップ",
            category_cd=3,
            category_name="有価物",
            aggregate_item_cd=7,
            aggregate_item_name="金属",
            sales_date="2025/12/05",
            quantity=9,
        )
        upload = plant.upload(FINAL, [sales_line(category_cd=2), line])
        found = plant.row(DETAIL, upload_file_id=upload.id)
        stored = plant.row("stg.shogun_final_receive", receive_no=501)
        assert found == {
            "sales_date": DAY,
            "rep_id": 11,
            "rep_name": "見本 太郎",
            "customer_id": "000123",
            "customer_name": "架空建設",
            "item_id": 201,
            "item_name": "鉄スクラップ",
            "amount_yen": 67890,
            "qty_kg": Decimal("1234.5"),
            "slip_no": 501,
            "category_cd": 3,
            "category_name": "有価物",
            "category_kind": "valuable",
            "aggregate_item_cd": 7,
            "aggregate_item_name": "金属",
            "source_id": stored["id"],
            "upload_file_id": upload.id,
            "source_row_no": 2,
        }

    @pytest.mark.parametrize(
        ("category", "kinds"), [(1, ["waste"]), (3, ["valuable"]), (2, []), (9, []), (13, []), (None, [])]
    )
    def test_only_waste_and_valuables_are_sales(self, plant: Plant, category: int | None, kinds: list[str]) -> None:
        plant.upload(FINAL, [sales_line(category_cd=category)])
        assert plant.table(DETAIL)["category_kind"].tolist() == kinds

    @pytest.mark.parametrize(
        ("client", "customer"),
        [
            pytest.param("7", "000007", id="short"),
            pytest.param("000123", "000123", id="short with zeros in the file"),
            pytest.param("123456", "123456", id="six"),
            pytest.param("1234567", "1234567", id="longer than six"),
            pytest.param("0012345678", "12345678", id="longer than six with zeros in the file"),
            pytest.param("00B007", "00B007", id="letters"),
            pytest.param("ABC", "000ABC", id="letters only"),
            pytest.param("ABCDEFGH", "ABCDEFGH", id="many letters"),
            pytest.param("架空1", "000架空1", id="Japanese"),
            pytest.param("", None, id="none"),
        ],
    )
    def test_a_customer_id_is_filled_up_with_zeros_to_six_and_never_cut(
        self, plant: Plant, client: str, customer: str | None
    ) -> None:
        plant.upload(FINAL, [sales_line(client_cd=client)])
        assert plant.table(DETAIL)["customer_id"].tolist() == [customer]

    def test_flash_lists_are_not_sales(self, plant: Plant) -> None:
        plant.upload(FLASH, [sales_line()])
        assert plant.table(DETAIL).empty

    def test_replaced_lines_are_not_sales(self, plant: Plant) -> None:
        plant.upload(FINAL, [sales_line(1), sales_line(2)])
        plant.upload(FINAL, [sales_line(2, yen=2500)])
        lines = plant.table(DETAIL)
        assert list(zip(lines["slip_no"], lines["amount_yen"], strict=True)) == [(2, 2500)]


class TestCustomerSales:
    def test_a_day_of_a_customer_counts_slips_and_adds_up_yen_and_weight(self, plant: Plant) -> None:
        plant.upload(
            FINAL,
            [
                sales_line(1, 100, 1000, client_cd="12"),
                sales_line(1, 50, "500.5", client_cd="000012", category_cd=3),
                sales_line(2, "0.5", -200, client_cd="12"),
                sales_line(3, 9000, 9000, client_cd="12", category_cd=2),
                sales_line(1, 7, 70, client_cd="34"),
                sales_line(1, 8, 80, client_cd="12", day=date(2025, 12, 2)),
            ],
        )
        columns = "visit_count total_amount_yen total_qty_kg total_net_weight_kg"
        kg = Decimal("150.5")
        found = plant.values(CUSTOMER_SALES, columns, sales_date=DAY, customer_id="000012")
        assert found == (2, Decimal("1300.5"), kg, kg)
        assert plant.values(CUSTOMER_SALES, columns, sales_date=DAY, customer_id="000034") == (1, 70, 7, 7)
        assert len(plant.table(CUSTOMER_SALES)) == 3

    def test_of_several_names_and_reps_the_greatest_is_shown(self, plant: Plant) -> None:
        plant.upload(
            FINAL,
            [
                sales_line(1, client_name="架空B", sales_staff_cd=9, sales_staff_name="A"),
                sales_line(2, client_name="架空A", sales_staff_cd=10, sales_staff_name="C"),
                sales_line(3, client_name="", sales_staff_cd="", sales_staff_name="B"),
            ],
        )
        assert plant.values(CUSTOMER_SALES, "customer_name rep_id rep_name", sales_date=DAY) == ("架空B", 10, "C")

    def test_a_line_without_weight_or_amount_is_a_visit_all_the_same(self, plant: Plant) -> None:
        plant.upload(FINAL, [sales_line(1, 100, None), sales_line(2, None, 300)])
        columns = "visit_count total_amount_yen total_qty_kg"
        assert plant.values(CUSTOMER_SALES, columns, sales_date=DAY) == (2, 300, 100)


class TestLists:
    def test_each_customer_item_and_rep_appears_once(self, plant: Plant) -> None:
        plant.upload(FINAL, [sales_line(slip, client_cd="12", item_cd=5, sales_staff_cd=9) for slip in (1, 2, 3)])
        for view in ("ref.v_customer", "ref.v_item", "ref.v_sales_rep"):
            assert len(plant.table(view)) == 1

    def test_an_id_with_two_names_appears_with_each(self, plant: Plant) -> None:
        plant.upload(FINAL, [sales_line(slip, client_name=name) for slip, name in enumerate(("旧名", "新名"))])
        assert sorted(plant.table("ref.v_customer")["customer_name"]) == ["新名", "旧名"]

    def test_what_is_no_sale_appears_nowhere(self, plant: Plant) -> None:
        plant.upload(FINAL, [sales_line(category_cd=2)])
        plant.upload(FLASH, [sales_line()])
        for view in ("ref.v_customer", "ref.v_item", "ref.v_sales_rep"):
            assert plant.table(view).empty


@pytest.fixture(scope="module")
def sampled(
    server: Settings, template: str, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Plant, pd.DataFrame]]:
    """The sample generator's receive lists and, read from the files, the sales lines that have to come of them."""
    with new_plant(server, template, catalog, tmp_path_factory.mktemp("plant")) as plant:
        expected = []
        for path in sample.write_files(plant.settings.inbox_dir, date(2025, 12, 10), weeks=3, seed=5):
            if path.parent.name in (FINAL, FLASH):
                lines = read_lines(path)
                upload = plant.take(path.parent.name, path)
                if path.parent.name == FINAL:
                    expected.append(sales_of(lines).assign(upload_file_id=upload.id))
        yield plant, pd.concat(expected, ignore_index=True)


def sales_of(lines: pd.DataFrame) -> pd.DataFrame:
    """The sales lines of a final receive list."""
    category = lines["種類CD"].map(as_number)
    sales = pd.DataFrame(
        {
            "sales_date": pd.to_datetime(lines["伝票日付"].map(as_day)),
            "rep_id": lines["営業担当者CD"].map(as_number),
            "rep_name": lines["営業担当者名"],
            "customer_id": [code and code.lstrip("0").zfill(6) for code in lines["取引先CD"]],
            "customer_name": lines["取引先名"],
            "item_id": lines["品名CD"].map(as_number),
            "item_name": lines["品名"],
            "amount_yen": lines["金額"].map(as_number),
            "qty_kg": lines["正味重量"].map(as_number),
            "slip_no": lines["受入番号"].map(as_number),
            "category_cd": category,
            "category_name": lines["種類名"],
            "category_kind": category.map({1: "waste", 3: "valuable"}),
            "aggregate_item_cd": lines["集計項目CD"].map(as_number),
            "aggregate_item_name": lines["集計項目"],
            "source_row_no": range(1, len(lines) + 1),
        },
        dtype=object,
    )
    return sales[sales["category_kind"].notna()]


class TestSampleFiles:
    def test_every_sales_line_is_in_the_files(self, sampled: tuple[Plant, pd.DataFrame]) -> None:
        plant, expected = sampled
        assert set(expected["category_kind"]) == {"waste", "valuable"}
        assert_same(plant.table(DETAIL).drop(columns="source_id"), expected, ["upload_file_id", "source_row_no"])

    def test_a_line_is_traced_to_its_row(self, sampled: tuple[Plant, pd.DataFrame]) -> None:
        plant, _ = sampled
        place = ["upload_file_id", "source_row_no"]
        rows = plant.table("stg.shogun_final_receive").rename(columns={"id": "source_id"})[["source_id", *place]]
        lines = plant.table(DETAIL)[["source_id", *place]]
        assert_same(lines, rows[rows["source_id"].isin(lines["source_id"])], place)

    def test_every_day_of_every_customer(self, sampled: tuple[Plant, pd.DataFrame]) -> None:
        plant, sales = sampled
        days = sales.groupby(["sales_date", "customer_id"])
        expected = pd.DataFrame(
            {
                "customer_name": days["customer_name"].max(),
                "rep_id": days["rep_id"].max(),
                "rep_name": days["rep_name"].max(),
                "visit_count": days["slip_no"].nunique(),
                "total_amount_yen": days["amount_yen"].sum(),
                "total_qty_kg": days["qty_kg"].sum(),
                "total_net_weight_kg": days["qty_kg"].sum(),
            }
        )
        assert_same(plant.table(CUSTOMER_SALES), expected.reset_index(), ["sales_date", "customer_id"])

    @pytest.mark.parametrize(
        ("view", "columns"),
        [
            ("ref.v_customer", ["customer_id", "customer_name"]),
            ("ref.v_item", ["item_id", "item_name", "category_cd", "category_name"]),
            ("ref.v_sales_rep", ["rep_id", "rep_name"]),
        ],
    )
    def test_the_lists_hold_whatever_appears_in_the_lines(
        self, sampled: tuple[Plant, pd.DataFrame], view: str, columns: list[str]
    ) -> None:
        plant, sales = sampled
        assert len(plant.table(view)) > 2
        assert_same(plant.table(view), sales[columns].drop_duplicates(), columns)
