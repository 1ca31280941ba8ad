"""Rounding that is learned block by block, for types whose weights are codes times scales.

A quantizer takes the nearest code of each weight by itself. Here each transformer block learns
which of the two next to a weight makes its output most like the unquantized block's, with its input
as the quantized blocks before it leave it, and its scales with them: sign gradients on offsets and
on scales, as AutoRound does (Cheng et al. 2024, arXiv 2309.05516). A scale is learned as the file
will hold it: of a K-quant, as a whole number of six bits, or four, of a scale of scales.
"""
