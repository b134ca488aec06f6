// mul8u_p10: approximate 8 x 8 bit unsigned multiplier, O = A B
// MAE = 1554.94, WCE = 9022
// power 0.03708 mW, area 74.35 um2, delay 0.4126 ns (gate model: 34 gates)
module mul8u_p10 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[7] & B[4];
  wire g1 = A[6] & B[6];
  wire g2 = A[5] & g1;
  wire g3 = A[6] & B[5];
  wire g4 = g0 | g3;
  wire g5 = A[7] & B[5];
  wire g6 = g2 | g5;
  wire g7 = A[7] & B[6];
  wire g8 = g1 ^ g5;
  wire g9 = B[6] & g6;
  wire g10 = g8 ^ g9;
  wire g11 = g7 ^ g9;
  wire g12 = g6 & g7;
  wire g13 = A[4] & B[7];
  wire g14 = g4 | g13;
  wire g15 = g4 & g13;
  wire g16 = A[5] & B[7];
  wire g17 = g10 ^ g16;
  wire g18 = g10 & g16;
  wire g19 = g15 ^ g17;
  wire g20 = g15 & g17;
  wire g21 = g18 | g20;
  wire g22 = A[6] & B[7];
  wire g23 = g11 ^ g22;
  wire g24 = g11 & g22;
  wire g25 = g21 ^ g23;
  wire g26 = g21 & g23;
  wire g27 = g24 | g26;
  wire g28 = A[7] & B[7];
  wire g29 = g12 ^ g28;
  wire g30 = g9 & g28;
  wire g31 = g27 ^ g29;
  wire g32 = g27 & g29;
  wire g33 = g30 | g32;
  assign O = {g33, g31, g25, g19, g14, 1'b1, 1'b1, 1'b1, g19, A[4], A[4], A[1], 1'b0, g7, A[0], g32};
endmodule
