// mul8u_p11: approximate 8 x 8 bit unsigned multiplier, O = A B
// MAE = 1169.07, WCE = 5352
// power 0.04455 mW, area 91.64 um2, delay 0.5305 ns (gate model: 41 gates)
module mul8u_p11 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[7] & B[4];
  wire g1 = A[7] & B[5];
  wire g2 = A[6] & B[5];
  wire g3 = g0 ^ g2;
  wire g4 = g0 & g2;
  wire g5 = g1 ^ g3;
  wire g6 = g1 & g3;
  wire g7 = g4 | g6;
  wire g8 = g1 ^ g7;
  wire g9 = A[5] & B[6];
  wire g10 = g5 | g9;
  wire g11 = g5 & g9;
  wire g12 = A[6] & B[6];
  wire g13 = g8 | g12;
  wire g14 = g11 ^ g13;
  wire g15 = g11 & g13;
  wire g16 = A[7] & B[6];
  wire g17 = g7 ^ g16;
  wire g18 = B[6] & g7;
  wire g19 = g15 ^ g17;
  wire g20 = g15 & g17;
  wire g21 = g18 | g20;
  wire g22 = A[4] & B[7];
  wire g23 = A[5] & B[7];
  wire g24 = g14 ^ g23;
  wire g25 = g14 & g23;
  wire g26 = g22 ^ g24;
  wire g27 = g22 & g24;
  wire g28 = g25 | g27;
  wire g29 = A[6] & B[7];
  wire g30 = g19 ^ g29;
  wire g31 = g19 & g29;
  wire g32 = g28 ^ g30;
  wire g33 = g28 & g30;
  wire g34 = g31 | g33;
  wire g35 = ~(A[7] & B[7]);
  wire g36 = ~(g21 ^ g35);
  wire g37 = B[7] & g21;
  wire g38 = g34 ^ g36;
  wire g39 = g34 & g36;
  wire g40 = g37 | g39;
  assign O = {g40, g38, g32, g26, g10, 1'b1, g10, B[3], 1'b1, g21, g2, g27, g24, A[4], B[6], A[6]};
endmodule
