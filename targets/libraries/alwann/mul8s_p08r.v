// mul8s_p08r: approximate 8 x 8 bit signed multiplier, O = A B
// MAE = 1121.12, WCE = 5256
// power 0.03487 mW, area 59.65 um2, delay 0.3536 ns (gate model: 28 gates)
module mul8s_p08r (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[6] & B[5];
  wire g1 = A[7] & B[5];
  wire g2 = ~g1;
  wire g3 = ~A[7];
  wire g4 = A[5] & B[6];
  wire g5 = A[7] & B[6];
  wire g6 = ~g5;
  wire g7 = g0 & g4;
  wire g8 = g0 | g4;
  wire g9 = A[6] & B[6];
  wire g10 = g2 ^ g9;
  wire g11 = g9 & g10;
  wire g12 = g7 ^ g10;
  wire g13 = ~g12;
  wire g14 = g7 | g11;
  wire g15 = g2 ^ g6;
  wire g16 = g14 | g15;
  wire g17 = ~g16;
  wire g18 = B[7] & g8;
  wire g19 = ~g18;
  wire g20 = A[5] & B[7];
  wire g21 = ~g20;
  wire g22 = g13 ^ g21;
  wire g23 = g13 & g21;
  wire g24 = g8 ^ g22;
  wire g25 = g8 & g22;
  wire g26 = g23 | g25;
  wire g27 = A[6] & B[7];
  wire g28 = ~g27;
  wire g29 = g17 ^ g28;
  wire g30 = ~g29;
  wire g31 = g26 ^ g30;
  wire g32 = g26 & g28;
  wire g33 = A[7] & B[7];
  wire g34 = g3 & g32;
  wire g35 = g33 | g34;
  wire g36 = ~g35;
  assign O = {g36, g36, g31, g24, g19, g3, g3, 1'b1, B[5], g6, B[5], B[5], A[7], g3, A[6], 1'b1};
endmodule
