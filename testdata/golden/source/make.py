"""Writes the small foreign files that the readers of kvant-db are tested on.

    pip install numpy pyarrow h5py && python make.py

The files need not come out the same byte for byte with another version of the libraries.
"""
import datetime
import os

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

os.chdir(os.path.dirname(os.path.abspath(__file__)))
vectors = (np.arange(24, dtype="<f4").reshape(8, 3) - 4) / 8

table = pa.table({
    "id": pa.array([10, 11, 12, 13, 14, 15, 16, 17], pa.int64()),
    "vector": pa.array(vectors.tolist(), pa.list_(pa.float32())),
    "text": pa.array([f"text {i}" for i in range(8)]),
    "lang": pa.array(["en", None, "de", "en", None, "fr", "en", "en"]),
    "tags": pa.array([["a", "b"], [], None, ["c"], ["a"], ["a"], [], ["b"]], pa.list_(pa.string())),
    "by": pa.array([{"name": "Ada", "year": 1843}] * 8),
    "day": pa.array([datetime.date(2020, 1, 1 + i) for i in range(8)]),
    "open": pa.array([True, False] * 4),
    "share": pa.array([0.5] * 7 + [float("nan")], pa.float64()),
})
for name in ["snappy", "zstd", "none"]:
    pq.write_table(table, f"{name}.parquet", compression=name, row_group_size=3)
fixed = pa.table({
    "key": pa.array([f"k{i}" for i in range(8)]),
    "emb": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel().astype("f8")), 3),
})
pq.write_table(fixed, "fixed.parquet", compression="snappy")
broken = pa.table({"vector": pa.array([[1.0, 2.0], [3.0, float("nan")]], pa.list_(pa.float32()))})
pq.write_table(broken, "nan.parquet", compression="snappy")

with h5py.File("plain.hdf5", "w") as file:
    file.attrs["distance"] = "angular"
    file["train"] = vectors
    file["test"] = vectors[:2] * 2
    file["neighbors"] = np.zeros((2, 5), "<i4")
with h5py.File("packed.hdf5", "w", libver="latest") as file:
    file.create_dataset("train", data=vectors.astype("<f8"), chunks=(3, 2), compression="gzip",
                        shuffle=True)
with h5py.File("empty.hdf5", "w") as file:
    file.create_dataset("train", shape=(1 << 40, 4), dtype="<f4", chunks=(64, 4))
