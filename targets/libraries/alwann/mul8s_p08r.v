// mul8s_p08r: approximate 8 x 8 bit signed multiplier, p = a w
// MAE = 1121.12, WCE = 5256
// power 0.03487 mW, area 59.65 um2, delay 0.3536 ns (gate model: 28 gates)
module mul8s_p08r (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[6] & w[5];
  wire n1 = ~(a[7] & w[5]);
  wire n2 = ~a[7];
  wire n3 = a[5] & w[6];
  wire n4 = ~(a[7] & w[6]);
  wire n5 = n0 & n3;
  wire n6 = n0 | n3;
  wire n7 = a[6] & w[6];
  wire n8 = n1 ^ n7;
  wire n9 = n7 & n8;
  wire n10 = ~(n5 ^ n8);
  wire n11 = n5 | n9;
  wire n12 = n1 ^ n4;
  wire n13 = ~(n11 | n12);
  wire n14 = ~(w[7] & n6);
  wire n15 = ~(a[5] & w[7]);
  wire n16 = n10 ^ n15;
  wire n17 = n10 & n15;
  wire n18 = n6 ^ n16;
  wire n19 = n6 & n16;
  wire n20 = n17 | n19;
  wire n21 = ~(a[6] & w[7]);
  wire n22 = ~(n13 ^ n21);
  wire n23 = n20 ^ n22;
  wire n24 = n20 & n21;
  wire n25 = a[7] & w[7];
  wire n26 = n2 & n24;
  wire n27 = ~(n25 | n26);
  assign p[0] = 1'b1;
  assign p[1] = a[6];
  assign p[2] = n2;
  assign p[3] = a[7];
  assign p[4] = w[5];
  assign p[5] = w[5];
  assign p[6] = n4;
  assign p[7] = w[5];
  assign p[8] = 1'b1;
  assign p[9] = n2;
  assign p[10] = n2;
  assign p[11] = n14;
  assign p[12] = n18;
  assign p[13] = n23;
  assign p[14] = n27;
  assign p[15] = n27;
endmodule
