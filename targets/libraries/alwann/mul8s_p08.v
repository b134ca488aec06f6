// mul8s_p08: approximate 8 x 8 bit signed multiplier, O = A B
// MAE = 1112.46, WCE = 5189
// power 0.03367 mW, area 57.92 um2, delay 0.3242 ns (gate model: 27 gates)
module mul8s_p08 (input [7:0] A, input [7:0] B, output [15:0] O);
  wire g0 = A[6] & B[5];
  wire g1 = ~(A[7] & B[5]);
  wire g2 = ~(A[7] | B[7]);
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
  wire g14 = A[7] & B[7];
  wire g15 = ~g14;
  wire g16 = ~(A[5] & B[7]);
  wire g17 = g10 ^ g16;
  wire g18 = g10 & g16;
  wire g19 = g6 ^ g17;
  wire g20 = g6 & g17;
  wire g21 = g18 | g20;
  wire g22 = ~(A[6] & B[7]);
  wire g23 = ~(g13 ^ g22);
  wire g24 = g21 ^ g23;
  wire g25 = g2 & g21;
  wire g26 = ~(g14 | g25);
  assign O = {g26, g26, g24, g19, g15, g2, 1'b1, A[5], g16, g25, g16, g22, B[0], g7, B[5], g0};
endmodule
