"""Two language games in which a pivot language drifts, and the methods against drift, as Tune trainables."""
