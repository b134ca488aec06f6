// mul8s_p08: approximate 8 x 8 bit signed multiplier, O = A B
// MAE = 1112.46, WCE = 5189
// power 0.03367 mW, area 57.92 um2, delay 0.3242 ns (gate model: 27 gates)
module mul8s_p08 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[6] & B[5];
  wire g1 = A[7] & B[5];
  wire g2 = ~g1;
  wire g3 = A[7] | B[7];
  wire g4 = ~g3;
  wire g5 = A[5] & B[6];
  wire g6 = A[7] & B[6];
  wire g7 = ~g6;
  wire g8 = g0 & g5;
  wire g9 = g0 | g5;
  wire g10 = A[6] & B[6];
  wire g11 = g2 ^ g10;
  wire g12 = g10 & g11;
  wire g13 = g8 ^ g11;
  wire g14 = ~g13;
  wire g15 = g8 | g12;
  wire g16 = g2 ^ g7;
  wire g17 = g15 | g16;
  wire g18 = ~g17;
  wire g19 = A[7] & B[7];
  wire g20 = ~g19;
  wire g21 = A[5] & B[7];
  wire g22 = ~g21;
  wire g23 = g14 ^ g22;
  wire g24 = g14 & g22;
  wire g25 = g9 ^ g23;
  wire g26 = g9 & g23;
  wire g27 = g24 | g26;
  wire g28 = A[6] & B[7];
  wire g29 = ~g28;
  wire g30 = g18 ^ g29;
  wire g31 = ~g30;
  wire g32 = g27 ^ g31;
  wire g33 = g4 & g27;
  wire g34 = g19 | g33;
  wire g35 = ~g34;
  assign O = {g35, g35, g32, g25, g20, g4, 1'b1, A[5], g22, g33, g22, g29, B[0], g10, B[5], g0};
endmodule
