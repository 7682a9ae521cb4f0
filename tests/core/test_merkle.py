"""The Merkle tree against known answers and against the RFC's own recursive definitions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consentkit.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    HashesMissing,
    ProofInvalid,
    TileRoot,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tile_width,
    verify_consistency,
    verify_inclusion,
)

# Leaves of the test tree that Certificate Transparency logs share, and its root at every size from 1.
CT_LEAVES = [
    bytes.fromhex(one)
    for one in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 511, 512, 513, 600, 769, 1024, 1025]))


# The definitions of RFC 9162 section 2.1, word for word and slow. Leaves are given by their hashes.


def half(count: int) -> int:
    cut = 1
    while cut * 2 < count:
        cut *= 2
    return cut


def mth(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    cut = half(len(leaves))
    return sha256(b"\x01" + mth(leaves[:cut]) + mth(leaves[cut:])).digest()


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    cut = half(len(leaves))
    if index < cut:
        return [*path(index, leaves[:cut]), mth(leaves[cut:])]
    return [*path(index - cut, leaves[cut:]), mth(leaves[:cut])]


def subproof(old: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [mth(leaves)]
    cut = half(len(leaves))
    if old <= cut:
        return [*subproof(old, leaves[:cut], whole), mth(leaves[cut:])]
    return [*subproof(old - cut, leaves[cut:], False), mth(leaves[:cut])]


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


class Store:
    """What a ledger keeps: the leaf hashes, and the roots of full tiles. Counts what is read."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.frontier, tiles = Frontier().extend(leaves)
        self.nodes = {(0, index): leaf for index, leaf in enumerate(leaves)}
        self.nodes |= {(tile.level, tile.index): tile.hash for tile in tiles}
        self.reads: list[tuple[int, int, int]] = []

    def read(self, level: int, first: int, count: int) -> list[bytes]:
        self.reads.append((level, first, count))
        return [self.nodes[level, index] for index in range(first, first + count)]


def test_known_hashes() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"L123456").hex() == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    assert node_hash(b"N123", b"N456").hex() == (
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    )


@pytest.mark.parametrize("size", range(1, 9))
def test_known_roots(size: int) -> None:
    tree = Frontier().append(map(leaf_hash, CT_LEAVES[:size]))
    assert tree.root().hex() == CT_ROOTS[size - 1]


def test_the_empty_tree() -> None:
    assert Frontier().root() == EMPTY_ROOT
    assert Frontier().extend([]) == (Frontier(), [])


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), max_size=6))
def test_batches_make_the_same_tree_and_the_same_tiles(batches: list[int]) -> None:
    leaves = leaves_of(sum(batches))
    tree, tiles, done = Frontier(), list[TileRoot](), 0
    for count in batches:
        tree, completed = tree.extend(leaves[done : done + count])
        tiles += completed
        done += count
        assert tree.root() == mth(leaves[:done])
    assert (tree, tiles) == Frontier().extend(leaves)
    full = [leaves[at : at + 256] for at in range(0, len(leaves) - 255, 256)]
    assert tiles == [TileRoot(1, index, mth(tile)) for index, tile in enumerate(full)]


@settings(deadline=None)
@given(st.integers(0, 600))
def test_a_frontier_is_read_back_from_its_bytes(size: int) -> None:
    tree = Frontier().append(leaves_of(size))
    assert Frontier.from_bytes(tree.to_bytes()) == tree
    assert len(tree.to_bytes()) == 8 + 32 * size.bit_count()


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), bytes(9), (1).to_bytes(8, "big"), (1).to_bytes(8, "big") + bytes(31), bytes(8 + 32)],
    ids=len,
)
def test_bytes_that_are_no_frontier(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a frontier"):
        Frontier.from_bytes(data)


def test_a_frontier_has_a_peak_for_every_bit_of_its_size() -> None:
    with pytest.raises(ValueError, match="peaks"):
        Frontier(3, (bytes(32),))
    with pytest.raises(ValueError, match="peaks"):
        Frontier(1, (bytes(31),))
    with pytest.raises(ValueError, match="size"):
        Frontier(-1)
    with pytest.raises(ValueError, match="size"):
        Frontier(2**64 - 1, (bytes(32),) * 64).append([bytes(32)])
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier().append([b"not", b"hashed"])


def test_70000_leaves_make_the_tiles_of_the_specification() -> None:
    """The worked example of c2sp.org/tlog-tiles: 273 full tiles and 112 hashes, 1 and 17, none and 1."""
    leaves = leaves_of(70_000)
    tree, tiles = Frontier(65_000, Frontier().append(leaves[:65_000]).peaks).extend(leaves[65_000:])
    assert [tile.index for tile in tiles if tile.level == 1] == list(range(253, 273))
    assert [tile for tile in tiles if tile.level == 2] == [TileRoot(2, 0, mth(leaves[:65_536]))]
    assert [tile_width(0, tile, 70_000) for tile in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert [tile_width(1, tile, 70_000) for tile in (0, 1, 2)] == [256, 17, 0]
    assert [tile_width(2, tile, 70_000) for tile in (0, 1)] == [1, 0]
    assert [tile_width(3, 0, 70_000)] == [0]

    store = Store(leaves)
    assert store.frontier == tree
    for index in (0, 255, 256, 65_535, 65_536, 69_887, 69_999):
        proof = inclusion_proof(store.read, index, 70_000)
        assert list(proof) == path(index, leaves)
        verify_inclusion(index, 70_000, leaves[index], proof, tree.root())
    for old in (1, 65_535, 65_536, 65_537, 69_888, 69_999):
        assert list(consistency_proof(store.read, old, 70_000)) == subproof(old, leaves, True)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    leaves, store = leaves_of(size), Store(leaves_of(1025))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(store.read, index, size)  # also of a tree that is not the latest
    assert list(proof) == path(index, leaves)
    verify_inclusion(index, size, leaves[index], proof, mth(leaves))


@settings(deadline=None, max_examples=60)
@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    leaves, store = leaves_of(size), Store(leaves_of(1025))
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(store.read, old, size)
    assert list(proof) == subproof(old, leaves, True)
    verify_consistency(old, size, mth(leaves[:old]), proof, mth(leaves))


def test_every_leaf_and_every_growth_of_small_trees() -> None:
    leaves, store = leaves_of(33), Store(leaves_of(33))
    roots = [mth(leaves[:size]) for size in range(34)]
    for size in range(1, 34):
        for index in range(size):
            proof = inclusion_proof(store.read, index, size)
            verify_inclusion(index, size, leaves[index], proof, roots[size])
        for old in range(size + 1):
            proof = consistency_proof(store.read, old, size)
            verify_consistency(old, size, roots[old], proof, roots[size])


def test_ten_million_leaves_cost_a_few_hundred_hashes() -> None:
    """All leaves alike, so that the whole tree is known: `full[height]` is the root of 2**height of them."""
    size, full = 10_000_000, [leaf_hash(b"the same")]
    for _ in range(24):
        full.append(node_hash(full[-1], full[-1]))
    peaks = tuple(full[height] for height in range(24, -1, -1) if size >> height & 1)
    root, reads = Frontier(size, peaks).root(), list[tuple[int, int, int]]()

    def read(level: int, first: int, count: int) -> list[bytes]:
        assert first + count <= size >> (8 * level), "only what is complete is stored"
        assert first // 256 == (first + count - 1) // 256, "one tile at a time"
        reads.append((level, first, count))
        return [full[8 * level]] * count

    for index in (0, 4_999_999, 9_999_871, 9_999_999):
        verify_inclusion(index, size, full[0], inclusion_proof(read, index, size), root)
        assert len(reads) == len(set(reads)) <= 5
        assert sum(count for *_, count in reads) < 1000
        reads.clear()
    old = 6_543_210
    old_root = Frontier(old, tuple(full[height] for height in range(24, -1, -1) if old >> height & 1)).root()
    verify_consistency(old, size, old_root, consistency_proof(read, old, size), root)
    assert len(reads) <= 5


def test_a_reader_that_gives_too_little_is_found_out() -> None:
    with pytest.raises(HashesMissing, match="255 of 256 hashes at level 0 from number 256"):
        inclusion_proof(lambda level, first, count: [bytes(32)] * (count - (first == 256)), 300, 600)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (4, 4), (0, 2**64)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_proof(Store([]).read, index, size)


@pytest.mark.parametrize(("old", "size"), [(2, 1), (-1, 4), (0, 2**64)])
def test_there_is_no_proof_of_a_tree_that_shrank(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="does not grow"):
        consistency_proof(Store([]).read, old, size)


# Tampering. The size alone is not among it: a proof binds the path, and a checkpoint binds size and root.

Tamper = Callable[[list[bytes], int], list[bytes]]


def flip(one: bytes, bit: int) -> bytes:
    return (int.from_bytes(one, "big") ^ 1 << bit % (8 * len(one))).to_bytes(len(one), "big")


TAMPERS: dict[str, Tamper] = {
    "a bit": lambda proof, at: [*proof[:at], flip(proof[at], 7 * at + 3), *proof[at + 1 :]],
    "left out": lambda proof, at: [*proof[:at], *proof[at + 1 :]],
    "doubled": lambda proof, at: [*proof[: at + 1], *proof[at:]],
    "swapped": lambda proof, at: [*proof[:at], *reversed(proof[at:])],
    "cut short": lambda proof, at: [*proof[:at], proof[at][:31], *proof[at + 1 :]],
    "too long": lambda proof, at: [*proof, proof[at]],
    "garbage before": lambda proof, at: [b"", *proof],
}


@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_tampered_inclusion_proof_is_refused(tamper: str) -> None:
    leaves = leaves_of(23)
    root, refused = mth(leaves), 0
    for index in range(23):
        proof = path(index, leaves)
        for at in range(len(proof)):
            changed = TAMPERS[tamper](proof, at)
            if changed != proof:
                with pytest.raises(ProofInvalid):
                    verify_inclusion(index, 23, leaves[index], changed, root)
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("tamper", TAMPERS)
def test_a_tampered_consistency_proof_is_refused(tamper: str) -> None:
    leaves = leaves_of(23)
    root, refused = mth(leaves), 0
    for old in range(1, 23):
        proof = subproof(old, leaves, True)
        for at in range(len(proof)):
            changed = TAMPERS[tamper](proof, at)
            if changed != proof:
                with pytest.raises(ProofInvalid):
                    verify_consistency(old, 23, mth(leaves[:old]), changed, root)
                refused += 1
    assert refused > 50


@pytest.mark.parametrize("index", range(23))
def test_an_inclusion_proof_of_something_else_is_refused(index: int) -> None:
    leaves = leaves_of(23)
    proof, root = path(index, leaves), mth(leaves)
    wrong: list[tuple[int, int, bytes, bytes]] = [
        (other, 23, leaves[index], root) for other in range(24) if other != index
    ]
    wrong += [
        (index, 23, flip(leaves[index], index), root),
        (index, 23, leaves[index], flip(root, index)),
        (index, 23, leaves[index][:-1], root),
        (index, 23, leaves[index], root + b"\0"),
        (index, 46, leaves[index], root),
        (index, index, leaves[index], root),
        (index, 0, leaves[index], root),
        (-1, 23, leaves[index], root),
        (index, 2**64, leaves[index], root),
        (index + 2**64, 23, leaves[index], root),
    ]
    for number, size, leaf, head in wrong:
        with pytest.raises(ProofInvalid):
            verify_inclusion(number, size, leaf, proof, head)


@pytest.mark.parametrize("old", range(1, 23))
def test_a_consistency_proof_of_something_else_is_refused(old: int) -> None:
    leaves = leaves_of(23)
    proof, root, old_root = subproof(old, leaves, True), mth(leaves), mth(leaves[:old])
    rewritten = [flip(leaves[0], 0), *leaves[1:]]
    wrong: list[tuple[int, int, bytes, Sequence[bytes], bytes]] = [
        (old, 23, flip(old_root, old), proof, root),
        (old, 23, old_root, proof, flip(root, old)),
        (old, 23, old_root[:-1], proof, root),
        (old, 23, old_root, [], root),
        (old, 23, root, proof, old_root),
        (old, 23, old_root, subproof(old, rewritten, True), mth(rewritten)),
        (old, 46, old_root, proof, root),
        (23, old, old_root, proof, root),
        (0, 23, old_root, proof, root),
        (23, 23, old_root, proof, root),
        (-1, 23, old_root, proof, root),
        (old, 2**64, old_root, proof, root),
    ]
    for first, size, first_root, hashes, head in wrong:
        with pytest.raises(ProofInvalid):
            verify_consistency(first, size, first_root, hashes, head)


def test_equal_sizes_and_the_empty_tree_need_no_proof() -> None:
    one, two = leaves_of(2)
    verify_consistency(0, 0, EMPTY_ROOT, [], EMPTY_ROOT)
    verify_consistency(0, 1, EMPTY_ROOT, [], one)
    verify_consistency(1, 1, one, [], one)
    for old, size, old_root, proof, root in [
        (0, 1, one, [], one),
        (0, 1, EMPTY_ROOT, [one], one),
        (0, 0, EMPTY_ROOT, [], one),
        (1, 1, one, [], two),
        (1, 1, one, [one], one),
    ]:
        with pytest.raises(ProofInvalid):
            verify_consistency(old, size, old_root, proof, root)


def test_a_proof_that_climbs_past_the_root_is_refused() -> None:
    """Each would end at the right hash, but in a tree that is higher than its size says."""
    a, b, c, d, above = leaves_of(5)
    with pytest.raises(ProofInvalid, match="longer"):
        verify_inclusion(0, 1, b, [a], node_hash(a, b))
    proof = [c, d, node_hash(a, b)]
    verify_consistency(3, 4, mth([a, b, c]), proof, mth([a, b, c, d]))
    old_root, root = node_hash(above, mth([a, b, c])), node_hash(above, mth([a, b, c, d]))
    with pytest.raises(ProofInvalid, match="longer"):
        verify_consistency(3, 4, old_root, [*proof, above], root)


# Whatever comes in, the answer is yes or ProofInvalid.

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.binary(max_size=33), st.just(bytes(32)),
    st.lists(st.one_of(st.none(), st.binary(min_size=31, max_size=33), st.just(bytes(32))), max_size=3),
)  # fmt: skip


def refuses(at: int, nonsense: object) -> None:
    """Put nonsense in the place of one argument of a good proof; another size is no nonsense."""
    leaves = leaves_of(3)
    good: list[tuple[Callable[..., None], list[object]]] = [
        (verify_inclusion, [1, 3, leaves[1], path(1, leaves), mth(leaves)]),
        (verify_consistency, [2, 3, mth(leaves[:2]), subproof(2, leaves, True), mth(leaves)]),
    ]
    for verify, arguments in good:
        verify(*arguments)
        if nonsense != arguments[at] and not (at == 1 and isinstance(nonsense, int)):
            with pytest.raises(ProofInvalid):
                verify(*arguments[:at], nonsense, *arguments[at + 1 :])


@settings(deadline=None)
@given(st.integers(0, 4), ANYTHING)
def test_any_nonsense_raises_nothing_else(at: int, nonsense: object) -> None:
    refuses(at, nonsense)


@pytest.mark.parametrize(
    "nonsense", [None, "", b"", -1, False, 1.5, [], [None], ["a"], {}, {b"a": 1}], ids=repr
)
@pytest.mark.parametrize("at", range(5))
def test_the_usual_nonsense_raises_nothing_else(at: int, nonsense: object) -> None:
    refuses(at, nonsense)
