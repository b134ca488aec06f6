// mul8u_p07: approximate 8 x 8 bit unsigned multiplier, O = A B
// MAE = 1991.64, WCE = 11915
// power 0.02555 mW, area 51.87 um2, delay 0.2652 ns (gate model: 24 gates)
module mul8u_p07 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[7] & B[5];
  wire g1 = A[6] & B[6];
  wire g2 = A[7] & B[6];
  wire g3 = g0 ^ g2;
  wire g4 = B[6] & g0;
  wire g5 = A[4] & B[4];
  wire g6 = A[5] & B[7];
  wire g7 = g1 | g6;
  wire g8 = g1 & g6;
  wire g9 = g5 ^ g7;
  wire g10 = g5 & g7;
  wire g11 = g8 | g10;
  wire g12 = A[6] & B[7];
  wire g13 = g3 ^ g12;
  wire g14 = g3 & g12;
  wire g15 = g11 ^ g13;
  wire g16 = g11 & g13;
  wire g17 = g14 | g16;
  wire g18 = A[7] & B[7];
  wire g19 = g4 ^ g18;
  wire g20 = B[7] & g4;
  wire g21 = g17 ^ g19;
  wire g22 = g17 & g19;
  wire g23 = g20 | g22;
  assign O = {g23, g21, g15, g9, A[6], A[5], B[6], 1'b1, 1'b1, B[7], 1'b1, B[4], 1'b0, g17, g6, g4};
endmodule
