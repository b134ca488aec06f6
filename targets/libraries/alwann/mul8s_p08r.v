// mul8s_p08r: approximate 8 x 8 bit signed multiplier, O = A B
// MAE = 1121.12, WCE = 5256
// power 0.03487 mW, area 59.65 um2, delay 0.3536 ns (gate model: 28 gates)
module mul8s_p08r (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[6] & B[5];
  wire g1 = ~(A[7] & B[5]);
  wire g2 = ~A[7];
  wire g3 = A[5] & B[6];
  wire g4 = ~(A[7] & B[6]);
  wire g5 = g0 & g3;
  wire g6 = g0 | g3;
  wire g7 = A[6] & B[6];
  wire g8 = g1 ^ g7;
  wire g9 = g7 & g8;
  wire g10 = ~(g5 ^ g8);
  wire g11 = g5 | g9;
  wire g12 = g1 ^ g4;
  wire g13 = ~(g11 | g12);
  wire g14 = ~(B[7] & g6);
  wire g15 = ~(A[5] & B[7]);
  wire g16 = g10 ^ g15;
  wire g17 = g10 & g15;
  wire g18 = g6 ^ g16;
  wire g19 = g6 & g16;
  wire g20 = g17 | g19;
  wire g21 = ~(A[6] & B[7]);
  wire g22 = ~(g13 ^ g21);
  wire g23 = g20 ^ g22;
  wire g24 = g20 & g21;
  wire g25 = A[7] & B[7];
  wire g26 = g2 & g24;
  wire g27 = ~(g25 | g26);
  assign O = {g27, g27, g23, g18, g14, g2, g2, 1'b1, B[5], g4, B[5], B[5], A[7], g2, A[6], 1'b1};
endmodule
